import { readFileSync } from 'node:fs'
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks'
import { machineUs } from '../stage/clock.ts'

/** How often the lag of the event loop is looked at, in milliseconds. */
const LAG_EVERY_MS = 5
/** The unit of the kernel's own account of a thread, in microseconds. */
const TICK_US = 10_000

/** What a process has spent since a moment. */
export type Spent = {
  cpuUs: number
  us: number
  /** That of its main thread. Not a number where it is not known, which is anywhere but on Linux. */
  mainUs: number
  /** The 99th percentile of how late its event loop was. Not a number unless it is watched. */
  lagMs: number
}

let cpu = process.cpuUsage()
let mainUs = mainThreadUs()
let beganUs = machineUs()
let lag: IntervalHistogram | undefined

/** From now on the lag of the event loop is known. */
export function watchLag(): void {
  lag = monitorEventLoopDelay({ resolution: LAG_EVERY_MS })
  lag.enable()
}

/** A window begins. Returns when, in `machineUs`. */
export function beginWindow(): number {
  cpu = process.cpuUsage()
  mainUs = mainThreadUs()
  lag?.reset()
  beganUs = machineUs()
  return beganUs
}

/** CPU and time of this process since the window began. */
export function spentInWindow(): Spent {
  const { user, system } = process.cpuUsage(cpu)
  return {
    cpuUs: user + system,
    us: machineUs() - beganUs,
    mainUs: mainThreadUs() - mainUs,
    lagMs: lag ? lag.percentile(99) / 1e6 - LAG_EVERY_MS : Number.NaN,
  }
}

function mainThreadUs(): number {
  try {
    // Behind the name, which may have spaces: field 14 is the time in user mode, field 15 that in the kernel.
    const stat = readFileSync(`/proc/self/task/${process.pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[11]) + Number(fields[12])) * TICK_US
  } catch {
    return Number.NaN
  }
}
