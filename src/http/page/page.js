"use strict";
// Fetches the page anew and changes in place what has changed: focus, scroll and what is unfolded stay.
(() => {
  const button = document.getElementById("pause");
  const lost = document.getElementById("lost");
  const again = document.getElementById("again");
  const icon = document.getElementById("icon");
  const every = Number(button.dataset.every) * 1000;
  // Nobody reads a hidden tab, but its title and icon are seen.
  const everyHidden = Math.max(every, 60000);
  const unknown = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath stroke='%23808080' stroke-width='3' d='M2 2l12 12M14 2L2 14'/%3E%3C/svg%3E";
  let paused = false;
  let asking = false;
  let timer;

  // What only the script knows of an element.
  const own = (element, name) =>
    (element.localName === "details" && name === "open") || (element === button && name === "hidden");

  const key = (node) => (node.nodeType === Node.ELEMENT_NODE && node.id) || null;

  const alike = (one, other) =>
    one.nodeType === other.nodeType && one.nodeName === other.nodeName && key(one) === key(other);

  function change(old, fresh) {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    if (old === lost || old === button || old.isEqualNode(fresh)) return;
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && !own(old, name)) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value && !own(old, name)) old.setAttribute(name, value);
    }
    children(old, fresh);
  }

  function children(old, fresh) {
    const named = new Map();
    for (const child of old.childNodes) if (key(child)) named.set(key(child), child);
    let place = old.firstChild;
    for (const next of [...fresh.childNodes]) {
      const known = key(next) ? named.get(key(next)) : place;
      if (known && alike(known, next)) {
        if (known === place) place = place.nextSibling;
        else old.insertBefore(known, place);
        change(known, next);
      } else {
        old.insertBefore(document.importNode(next, true), place);
      }
    }
    while (place) {
      const next = place.nextSibling;
      place.remove();
      place = next;
    }
  }

  function show(fresh) {
    const focused = document.activeElement;
    for (const id of ["top", "main"]) change(document.getElementById(id), fresh.getElementById(id));
    if (document.title !== fresh.title) {
      document.title = fresh.title;
      icon.href = fresh.getElementById("icon").href;
    }
    // A row that moved takes the focus along.
    if (focused.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
  }

  function say(words) {
    if (lost.textContent !== words) lost.textContent = words;
    document.body.classList.toggle("stale", words !== "");
  }

  async function ask() {
    clearTimeout(timer);
    if (asking) return;
    asking = true;
    try {
      const answer = await fetch(location.origin + location.pathname, { cache: "no-store", signal: AbortSignal.timeout(every + 5000) });
      if (!answer.ok) throw new Error(String(answer.status));
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (!fresh.getElementById("summary")) throw new Error("another page");
      show(fresh);
      say("");
    } catch {
      document.title = "? – Aquila";
      icon.href = unknown;
      say("The broker does not answer, or wants you to sign in again. What stands here is old: see its time.");
    }
    asking = false;
    wait();
  }

  function wait() {
    clearTimeout(timer);
    if (!paused) timer = setTimeout(ask, document.hidden ? everyHidden : every);
  }

  button.hidden = false;
  button.addEventListener("click", () => {
    paused = !paused;
    button.textContent = paused ? "Go on" : "Pause";
    if (paused) clearTimeout(timer);
    else ask();
  });
  again.addEventListener("click", (event) => {
    event.preventDefault();
    ask();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) wait();
    else if (!paused) ask();
  });
  wait();
})();
