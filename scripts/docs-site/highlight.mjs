const WORDS = [
  'abstract as async await break case catch class const continue default delete do else export extends false',
  'finally for from function if implements import in instanceof interface let new null of return satisfies',
  'static super switch this throw true try type typeof undefined using var void while with yield def elif',
  'except lambda None not or and pass raise True False',
].join(' ')
const SLASHES = /^(ts|tsx|js|mjs|jsx|json|css)$/
const HASHES = /^(sh|python|py|yaml|yml|nginx|conf|service)$/

/** The code as HTML, with its comments, strings and keywords marked. Code of an unknown language stays as it is. */
export function highlighted(code, language) {
  const comment = SLASHES.test(language)
    ? '\\/\\/.*|\\/\\*[^]*?\\*\\/'
    : HASHES.test(language)
      ? '(?<=^|\\s)#.*'
      : undefined
  if (comment === undefined) return escaped(code)
  const strings = `'(?:\\\\.|[^'\\\\\\n])*'|"(?:\\\\.|[^"\\\\\\n])*"|\`(?:\\\\.|[^\`\\\\])*\``
  const words =
    language === 'sh'
      ? '(?!)'
      : `\\b(?:${WORDS.replaceAll(' ', '|')})\\b(?!\\s*[:(.?])|\\b(?:if|for|while|switch|catch|await)\\b`
  const pattern = new RegExp(`(${comment})|(${strings})|(${words})`, 'gm')
  let html = ''
  let at = 0
  for (const match of code.matchAll(pattern)) {
    const kind = match[1] !== undefined ? 'comment' : match[2] !== undefined ? 'string' : 'word'
    html += `${escaped(code.slice(at, match.index))}<span class="${kind}">${escaped(match[0])}</span>`
    at = match.index + match[0].length
  }
  return html + escaped(code.slice(at))
}

/** Text as HTML, also within an attribute. */
export function escaped(text) {
  return text.replace(/[&<>"]/g, (char) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[char])
}
