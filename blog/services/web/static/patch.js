// Make a part of the page like a fresh copy, and leave alone what is the same: focus, a selection and the place on
// the screen stay. Elements with an id are found again by it, others by where they stand.
export function patch(old, copy) {
  const focused = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  patchChildren(old, copy);
  if (focused && !old.contains(document.activeElement)) {
    old.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
  }
}

function patchChildren(old, copy) {
  const wanted = new Set([...copy.children].map((child) => child.id));
  for (const child of [...old.children]) if (child.id && !wanted.has(child.id)) child.remove();
  const known = new Map([...old.children].map((child) => [child.id, child]));
  let at = old.firstChild;
  for (const child of [...copy.childNodes]) {
    const same = child.id ? known.get(child.id) : isLike(at, child) ? at : null;
    while (same && at && at !== same && !at.id) at = dropped(at);
    if (!same || same.nodeName !== child.nodeName) {
      old.insertBefore(child, at);
      continue;
    }
    if (same === at) at = at.nextSibling;
    else old.insertBefore(same, at);
    patchNode(same, child);
  }
  while (at) at = dropped(at);
}

function isLike(node, child) {
  return node && !node.id && node.nodeName === child.nodeName;
}

function dropped(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

function patchNode(old, copy) {
  if (old.isEqualNode(copy)) return;
  if (old.nodeType !== Node.ELEMENT_NODE) {
    old.data = copy.data;
    return;
  }
  for (const { name } of [...old.attributes]) if (!copy.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of copy.attributes) old.setAttribute(name, value);
  patchChildren(old, copy);
}
