/** What this process writes to stderr while `act` runs. */
export async function stderrOf(act: () => Promise<void>): Promise<string> {
  const { write } = process.stderr
  let written = ''
  process.stderr.write = (chunk: Uint8Array | string): boolean => {
    written += String(chunk)
    return true
  }
  try {
    await act()
  } finally {
    process.stderr.write = write
  }
  return written
}
