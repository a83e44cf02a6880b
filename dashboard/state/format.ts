const COUNT = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })
const SHORT = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 })

/** A number of things: `12,345`. */
export function count(n: number): string {
  return COUNT.format(n)
}

/** A number of things with their name: `1 item`, `12,345 items`. */
export function things(n: number, name: string, names: string = `${name}s`): string {
  return `${count(n)} ${n === 1 ? name : names}`
}

/** A number of things in little room: `12.3K`. */
export function short(n: number): string {
  return n < 10_000 ? COUNT.format(n) : SHORT.format(n)
}

/** A rate, with a digit behind the point where it is small. */
export function rate(perSec: number): string {
  return perSec > 0 && perSec < 10 ? perSec.toFixed(1) : short(perSec)
}

/** A time span: `340 ms`, `4.2 s`, `3:07`, `2:03:07`. */
export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))} ms`
  if (ms < 10_000) return `${(ms / 1_000).toFixed(1)} s`
  if (ms < 60_000) return `${Math.floor(ms / 1_000)} s`
  const seconds = Math.floor(ms / 1_000)
  const [h, m, s] = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60, seconds % 60]
  const two = (n: number): string => String(n).padStart(2, '0')
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`
}

/** A time of the day, as the reader writes it: `05:08:58 AM`. */
export function clock(at: number): string {
  return new Date(at).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit' })
}

/** The end of an id, which tells runs apart. */
export function shortId(id: string): string {
  return id.length <= 10 ? id : `…${id.slice(-8)}`
}

/** A value as JSON, cut where it is long. */
export function jsonText(value: unknown, most = 2_000): string {
  if (value === undefined) return ''
  const text = typeof value === 'string' ? value : JSON.stringify(value, undefined, 2)
  return text.length > most ? `${text.slice(0, most)}…` : text
}
