// The search of the site, and the menu on a narrow screen. Without scripts, all pages are in the navigation.
const { root } = document.currentScript.dataset
const nav = document.querySelector('#nav')
const menu = document.querySelector('#menu')
const input = document.querySelector('#search')
const results = document.querySelector('#results')
const pages = document.querySelector('#pages')

document.documentElement.classList.add('scripted')
menu.hidden = false
document.querySelector('search').hidden = false
menu.addEventListener('click', () => {
  const open = nav.classList.toggle('open')
  menu.setAttribute('aria-expanded', String(open))
  if (open) input.focus()
})
nav.scrollTop = (nav.querySelector('[aria-current]')?.offsetTop ?? 0) - nav.clientHeight / 2

input.addEventListener('input', () => {
  const words = input.value.toLowerCase().split(/\s+/).filter(Boolean)
  pages.hidden = words.length > 0
  results.replaceChildren(...(words.length > 0 ? found(words) : []))
})
input.addEventListener('keydown', (event) => {
  if (event.key === 'Enter') results.querySelector('a')?.click()
  if (event.key !== 'Escape') return
  input.value = ''
  input.dispatchEvent(new Event('input'))
})
document.addEventListener('keydown', (event) => {
  if (event.key !== '/' || event.ctrlKey || event.metaKey || event.target.closest('input')) return
  event.preventDefault()
  nav.classList.add('open')
  menu.setAttribute('aria-expanded', 'true')
  input.focus()
})

/** The headings with all the words: titles of pages first, then those that begin with the first word. */
function found(words) {
  const rank = ([title, , page]) => (page === '' ? 0 : 2) + (title.toLowerCase().startsWith(words[0]) ? 0 : 1)
  const matches = globalThis.searchIndex
    .filter(([title, , page]) => words.every((word) => `${title} ${page}`.toLowerCase().includes(word)))
    .sort((a, b) => rank(a) - rank(b))
    .slice(0, 30)
  if (matches.length === 0) return [item('No heading has these words.')]
  return matches.map(([title, address, page]) => {
    const link = document.createElement('a')
    link.href = root + address
    link.append(title)
    const small = document.createElement('small')
    small.append(page)
    link.append(small)
    return item(link)
  })
}

function item(content) {
  const entry = document.createElement('li')
  entry.append(content)
  return entry
}
