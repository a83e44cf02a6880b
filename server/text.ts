/**
 * The beginning of `text`, for a message that quotes what a client said: at most `most` UTF-16 units and a mark that
 * there is more. It does not end within a character.
 */
export function excerpt(text: string, most: number): string {
  if (text.length <= most) return text
  const last = text.charCodeAt(most - 1)
  const end = last >= 0xd800 && last <= 0xdbff ? most - 1 : most
  return `${text.slice(0, end)}…`
}
