// All that the pages do in the browser: the theme switch, copy buttons, lists that renew
// themselves, parts that come later, and the live log. It is small enough to need no library: a part of a page is
// renewed by loading the page again and taking that part from it.
(() => {
  'use strict';
  const root = document.documentElement;
  let stored = null;
  try { stored = localStorage.getItem('theme'); } catch { /* no storage: the system's theme */ }
  if (stored === 'dark' || stored === 'light') root.dataset.theme = stored;

  function switchTheme() {
    const now = root.dataset.theme || (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light');
    root.dataset.theme = now === 'dark' ? 'light' : 'dark';
    try { localStorage.setItem('theme', root.dataset.theme); } catch { /* it holds for this page */ }
  }

  // enliven shows what works only with a script, within a part that is new on the page.
  function enliven(part) {
    for (const b of part.querySelectorAll('button.theme, button.copy, label.follow')) b.hidden = false;
  }

  async function copy(button) {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
    } catch { // plain http has no clipboard
      const area = document.createElement('textarea');
      area.value = button.dataset.copy;
      document.body.append(area);
      area.select();
      document.execCommand('copy');
      area.remove();
      button.focus();
    }
    button.classList.add('copied');
    setTimeout(() => button.classList.remove('copied'), 1200);
  }

  // part loads this page again, or another, and returns its element of the id given, or null.
  async function part(id, from = location.href) {
    const reply = await fetch(from, { headers: { 'X-Part': id }, redirect: 'error' });
    if (!reply.ok) return null;
    return new DOMParser().parseFromString(await reply.text(), 'text/html').getElementById(id);
  }

  // renew replaces the element with a fresh one as long as it asks for it.
  function renew(element) {
    const seconds = Number(element.dataset.refresh);
    if (!seconds) return;
    setTimeout(async () => {
      let fresh = null;
      if (!document.hidden && !element.contains(document.activeElement)) {
        try { fresh = await part(element.id); } catch { /* again at the next turn */ }
      }
      if (!fresh) return renew(element);
      moveOn(element, fresh);
      goOn(fresh);
      if (fresh.innerHTML !== element.innerHTML || fresh.dataset.refresh !== element.dataset.refresh) {
        element.replaceWith(fresh);
        enliven(fresh);
        return renew(fresh);
      }
      renew(element);
    }, seconds * 1000);
  }

  // moveOn takes away what the page says was done, once the state that it speaks of has passed.
  function moveOn(element, fresh) {
    if (fresh.dataset.state !== element.dataset.state) document.querySelector('.notice')?.remove();
  }

  // sayOnce takes what was done out of the address, so that the page does not say it again when it
  // is loaded again.
  function sayOnce() {
    const here = new URL(location.href);
    if (!here.searchParams.has('done')) return;
    here.searchParams.delete('done');
    history.replaceState(null, '', here);
  }

  // fill replaces an element by the one of a page that takes long to make. Until it is there
  // the element's note stands in its link's place; if it does not come the link is there again.
  async function fill(element) {
    const turn = () => { for (const child of element.children) child.hidden = !child.hidden; };
    turn();
    const fresh = await part(element.id, element.dataset.from).catch(() => null);
    if (fresh) element.replaceWith(fresh);
    else turn();
  }

  function follow(log) {
    const body = log.querySelector('.log-body');
    const box = log.querySelector('.follow input');
    const down = () => { if (box.checked) body.scrollTop = body.scrollHeight; };
    const stream = new EventSource(log.dataset.stream);
    stream.addEventListener('lines', (event) => {
      body.querySelector('.log-note:not(:has(a))')?.remove();
      body.insertAdjacentHTML('beforeend', event.data); // escaped by the server, line for line
      down();
    });
    stream.addEventListener('end', async () => {
      stream.close();
      const fresh = await part('log').catch(() => null);
      if (fresh && !box.checked) return; // somebody reads: nothing moves under their eyes
      if (fresh) {
        log.replaceWith(fresh);
        enliven(fresh);
        const end = fresh.querySelector('.log-body');
        end.scrollTop = end.scrollHeight;
      }
    });
    body.addEventListener('wheel', () => { box.checked = body.scrollHeight - body.scrollTop - body.clientHeight < 40; }, { passive: true });
    box.addEventListener('change', down);
    down();
  }

  // goOn shows the next attempt's log once a build's head knows of that attempt.
  async function goOn(head) {
    const log = document.getElementById('log');
    if (!head.dataset.attempt || !log || head.dataset.attempt === log.dataset.attempt) return;
    log.dataset.attempt = head.dataset.attempt; // once is enough
    const fresh = await part('log').catch(() => null);
    if (!fresh) { log.dataset.attempt = ''; return; } // again at the next turn
    log.replaceWith(fresh);
    enliven(fresh);
    if (fresh.dataset.stream) follow(fresh);
  }

  // reveal opens the fold that the line of the address is in.
  function reveal() {
    if (!/^#L\d+$/.test(location.hash)) return;
    const line = document.getElementById(location.hash.slice(1));
    const fold = line?.closest('details');
    if (fold) fold.open = true;
    line?.scrollIntoView({ block: 'center' });
  }

  document.addEventListener('click', (event) => {
    const button = event.target.closest?.('button');
    if (button?.matches('.theme')) switchTheme();
    if (button?.matches('.copy')) copy(button);
    for (const menu of document.querySelectorAll('details.menu[open]')) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });
  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape') return;
    for (const menu of document.querySelectorAll('details.menu[open]')) menu.open = false;
  });
  addEventListener('hashchange', reveal);
  addEventListener('DOMContentLoaded', () => {
    enliven(document);
    sayOnce();
    for (const element of document.querySelectorAll('[data-refresh]')) renew(element);
    for (const element of document.querySelectorAll('[data-from]')) fill(element);
    const log = document.querySelector('[data-stream]');
    if (log) follow(log);
    const why = document.querySelector('[data-end] .log-body'); // what went wrong is said last
    if (why && !location.hash) why.scrollTop = why.scrollHeight;
    document.querySelector('.faults')?.focus();
    reveal();
  });
})();
