/** The value below which there is the share `p` of all. */
export function percentile(values: readonly number[], p: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))] ?? Number.NaN
}

/** The middle value; the mean of the two middle ones of an even number. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length / 2
  if (!Number.isInteger(middle)) return sorted[Math.floor(middle)]!
  return ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2
}

/** Each value in proportion to that of the same round of `base`: what the machine did meanwhile met both. */
export function ratios(values: readonly number[], base: readonly number[]): number[] {
  return values.flatMap((value, round) => (base[round] ? [value / base[round]] : []))
}

/** `0.114`, `1.27`, `36`: three digits that matter, no more. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return '-'
  const size = Math.abs(value)
  if (size >= 1_000) return Math.round(value).toLocaleString('en')
  return value.toFixed(size >= 100 || size === 0 ? 0 : size >= 10 ? 1 : size >= 0.095 ? 2 : 3)
}

/** `0.11 (0.10-0.13)`: the median, and the range of the rounds. */
export function spread(values: readonly number[]): string {
  if (values.length === 0) return '-'
  const middle = figure(median(values))
  if (values.length === 1) return middle
  return `${middle} (${figure(Math.min(...values))}-${figure(Math.max(...values))})`
}

const MIB = 1_048_576

/** `+1.3 MB` */
export function growth(bytes: number): string {
  return `${bytes < 0 ? '-' : '+'}${(Math.abs(bytes) / MIB).toFixed(1)} MB`
}
