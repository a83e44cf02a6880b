const MIB = 1_048_576

/** The value below which there is the share `p` of all. */
export function percentile(values: readonly number[], p: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))] ?? Number.NaN
}

/** `p50 0.21 ms, p99 0.80 ms, max 1.32 ms over 1,000` */
export function latencies(ms: readonly number[]): string {
  const [p50, p99, max] = [0.5, 0.99, 1].map((p) => percentile(ms, p).toFixed(2))
  return `p50 ${p50} ms, p99 ${p99} ms, max ${max} ms over ${ms.length.toLocaleString('en')}`
}

/** `+1.25 MB` */
export function growth(before: number, after: number): string {
  const mib = (after - before) / MIB
  return `${mib < 0 ? '' : '+'}${mib.toFixed(2)} MB`
}

export function megabytes(bytes: number): number {
  return bytes / MIB
}
