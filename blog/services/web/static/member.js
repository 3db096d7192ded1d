// One of those in this browser that could hold its one stream: a worker, or a tab where there are no workers. The
// leader holds it, and passes on by BroadcastChannel what it hears. Pages of two deploys share the channel: if what
// is said on it changes, its name changes.
import { Election } from "./election.js";
import { Stream } from "./stream.js";

const CHANNEL = "blog-live-1";

export class Member {
  #deliver;
  #channel = channel();
  #election = new Election(crypto.getRandomValues(new Uint32Array(4)).join("-"));
  #stream = new Stream((message) => this.#publish(message));
  #state = this.#stream.state;   // of the leader's stream
  #timer = null;

  // `deliver` gets what the stream tells, whoever holds it.
  constructor(deliver) {
    this.#deliver = deliver;
    if (this.#channel) this.#channel.onmessage = ({ data }) => this.#receive(data);
  }

  get state() {
    return this.#state;
  }

  want(isWanted) {
    this.#act(isWanted ? this.#election.stand(performance.now()) : this.#election.withdraw());
  }

  hurry(isOnline) {
    this.#stream.hurry(isOnline);
  }

  #receive(message) {
    this.#act(this.#election.receive(message, performance.now()));
    if (this.#election.role === "follower" && message.told) this.#accept(message.told);
  }

  // What our own stream tells.
  #publish(message) {
    if (this.#election.role === "leader") this.#send({ told: message });
    this.#accept(message);
  }

  #accept(message) {
    if (!message.event && isSame(message, this.#state)) return;
    this.#state = message.event ? { isOpen: true, place: message.place } : message;
    this.#stream.place = message.place ?? this.#stream.place;
    this.#deliver(message);
  }

  #act(messages) {
    this.#stream.want(this.#election.role === "leader");
    for (const message of messages) this.#send(message.lead ? { ...message, told: this.#stream.state } : message);
    clearTimeout(this.#timer);
    if (this.#election.due === Infinity) return;
    const tick = () => this.#act(this.#election.tick(performance.now()));
    this.#timer = setTimeout(tick, Math.max(0, this.#election.due - performance.now()));
  }

  #send(message) {
    this.#channel?.postMessage(message);
  }
}

function isSame(one, other) {
  return one.isOpen === other.isOpen && one.place === other.place;
}

// Without a channel each is alone, and holds a stream of its own.
function channel() {
  try {
    return new BroadcastChannel(CHANNEL);
  } catch {
    return null;
  }
}
