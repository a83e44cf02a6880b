import { machineUs } from '../stage/clock.ts'

/** What a process has spent since a moment. */
export type Spent = { cpuUs: number; us: number }

let cpu = process.cpuUsage()
let beganUs = machineUs()

/** A window begins. Returns when, in `machineUs`. */
export function beginWindow(): number {
  cpu = process.cpuUsage()
  beganUs = machineUs()
  return beganUs
}

/** CPU and time of this process since the window began. */
export function spentInWindow(): Spent {
  const { user, system } = process.cpuUsage(cpu)
  return { cpuUs: user + system, us: machineUs() - beganUs }
}
