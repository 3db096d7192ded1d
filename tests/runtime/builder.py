"""Builds a view in the folder of its first argument and says a line a page: to be killed meanwhile."""

import asyncio
import sys
from pathlib import Path

from blog.eventlog.wire import Head
from blog.runtime.view.store import ViewStore
from tests.runtime.garden import LOG, Wider, batch, sown

COUNT, PAGE = 2000, 20


async def build(folder: Path) -> None:
    """Go on with what there is until it is whole, and swap that in."""
    async with ViewStore(Wider, folder) as store:
        at = (await store.open_for(Head(LOG, COUNT))).applied
        print(at, flush=True)
        while at < COUNT:
            through = min(at + PAGE, COUNT)
            await store.apply(batch(sown(at + 1, through), through=through), budget=60.0)
            at = through
            print(at, flush=True)
        if store.is_building:
            await store.swap_in()
            print("swapped", flush=True)


if __name__ == "__main__":
    asyncio.run(build(Path(sys.argv[1])))
