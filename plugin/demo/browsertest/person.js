// What a person sees of a page: names, not selectors.
const words = (text) => (text || '').trim().replace(/\s+/g, ' ');
const shown = (e) => e.getClientRects().length > 0 && getComputedStyle(e).visibility === 'visible' && !e.closest('[aria-hidden=true]');
const person = {
  // says tells whether the page's text holds these words.
  says: (text) => words(document.body.innerText).includes(words(text)),

  // find scrolls to the link or button of a name, and returns where to click it; null while
  // there is none, or something lies over it.
  find: (name) => {
    const named = [...document.querySelectorAll('a, button, summary')].filter((e) => shown(e) && words(e.getAttribute('aria-label') || e.innerText) === name);
    const target = named.find((e) => e.closest('main')) || named[0];
    if (!target || target.disabled) return null;
    const inside = (r) => r.top >= 0 && r.bottom <= innerHeight;
    if (!inside(target.getBoundingClientRect())) target.scrollIntoView({ block: 'center', behavior: 'instant' });
    const r = target.getClientRects()[0];
    const [x, y] = [r.left + r.width / 2, r.top + r.height / 2];
    const top = document.elementFromPoint(x, y);
    return top && (target.contains(top) || top.contains(target)) ? [x, y] : null;
  },

  // focus goes to the field of a label, in the group of a legend if one is given, and selects
  // what is in it.
  focus: (legend, label) => {
    const group = legend ? [...document.querySelectorAll('legend')].find((l) => words(l.textContent) === legend)?.closest('fieldset') : document;
    const field = [...(group?.querySelectorAll('label') || [])].find((l) => shown(l) && words(l.innerText) === label)?.control;
    if (!field) return false;
    field.scrollIntoView({ block: 'center', behavior: 'instant' });
    field.focus();
    field.select?.();
    return document.activeElement === field;
  },
};
