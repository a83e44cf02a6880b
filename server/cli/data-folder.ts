import { join } from 'node:path'

/** The file of the data in a folder. */
export function dataFile(folder: string): string {
  return join(folder, 'millrace.db')
}
