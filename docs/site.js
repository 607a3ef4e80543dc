// What the theme adds to a page when it is seen, for those who do not use a mouse or a screen.
const tend = () => {
  // A landmark at each block of code: they get a name each.
  document.querySelectorAll('.md-code__nav:not([aria-label])').forEach((each) => {
    each.setAttribute('aria-label', `Code ${document.querySelectorAll('.md-code__nav[aria-label]').length + 1}`)
  })
  // Tables that are wider than the page are scrolled by keys, too.
  document.querySelectorAll('.md-typeset__scrollwrap:not([tabindex])').forEach((each) => {
    if (each.scrollWidth > each.clientWidth) each.tabIndex = 0
  })
}
new MutationObserver(tend).observe(document.body, { childList: true, subtree: true })

// The index has each Chinese character for itself (mkdocs.yml). The theme cuts what is asked in another way, and finds
// nothing for three characters and more: so they are parted here, before its worker gets the question.
const post = Worker.prototype.postMessage
Worker.prototype.postMessage = function (message, ...rest) {
  const asked = typeof message?.data === 'string' // other messages have objects
  const parted = asked ? { ...message, data: message.data.replace(/\p{sc=Han}{3,}/gu, (each) => [...each].join(' ')) } : message
  return post.call(this, parted, ...rest)
}
