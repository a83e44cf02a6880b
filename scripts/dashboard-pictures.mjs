// Takes the pictures of docs/dashboard.md with Chromium, of a server with made-up work: `node scripts/dashboard-pictures.mjs`.
// CHROMIUM says where the browser is.
import { createServer as createHttp } from 'node:http'
import { fileURLToPath } from 'node:url'
import { createClient } from 'millrace/client'
import { openai } from 'millrace/models/openai'
import { agent, bearer, createServer, demo, inspector, researchTeam, tool } from 'millrace/server'
import { dashboard } from 'millrace/server/dashboard'
import { chromium } from 'playwright-core'
import { z } from 'zod'

const TEXT = `A mill race is the channel that leads water to a mill wheel, and away from it again. The part above the wheel is the head race. A gate at its upper end decides how much water comes in, so that the miller can slow the wheel without touching the river.

Below the wheel runs the tail race. It must be as wide as the head race: water that does not leave holds the wheel back, and the stones stand still. Most mills have a spillway beside the gate. When the wheel is stopped, the water takes that way, and the banks hold.

The oldest races that were found are Roman. In Barbegal, near Arles, sixteen wheels stood one below the other, fed by one aqueduct, and ground flour for a whole town.

Later races were dug by monks, who had the time. At Fountains Abbey the same water drove the mill, washed the wool and carried the waste away. A race of two miles needs a fall of a few feet only: the slower the water comes, the less of the bank it takes along.

The wheel decides what the race must give. An undershot wheel stands in the stream and wants speed. An overshot wheel hangs below a trough and wants height: the water fills its buckets and turns it by weight alone. It uses twice as much of what the river offers, and it stops at once when the gate is closed.

In the dry months, millers agreed on hours. Who was upstream could hold the water back, and courts were kept busy by it. A mark was cut into a stone at the weir, and nobody was allowed to raise his boards above it. Many of these stones can still be found.

Today a few races feed turbines. The rules are the same as before: take what the wheel can use, let the rest go by, and close the gate first when something breaks. `

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** A provider on this machine, with the API of OpenAI: it writes 16 words a second. */
const provider = createHttp(async (request, response) => {
  request.resume()
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  const words = TEXT.split(/(?<= )/)
  for (const content of words) {
    if (response.destroyed) return
    response.write(`data: ${JSON.stringify({ choices: [{ index: 0, delta: { content } }] })}\n\n`)
    await wait(1_000 / 16)
  }
  response.write(`data: ${JSON.stringify({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] })}\n\n`)
  response.end('data: [DONE]\n\n')
})
await new Promise((resolve) => provider.listen(0, '127.0.0.1', resolve))

const model = openai('writer', { baseURL: `http://127.0.0.1:${provider.address().port}/v1`, apiKey: 'none' })
const writer = agent({ model, instructions: 'Write.' })
const refund = tool({
  description: 'Gives money back',
  input: z.object({ to: z.string() }),
  needsApproval: true,
  run: ({ to }) => `paid back to ${to}`,
})
const orders = tool({
  description: 'Looks up orders',
  input: z.object({ customer: z.string() }),
  run: () => '2 orders',
})
const server = createServer({
  actors: {
    report: writer,
    translate: writer,
    support: agent({ model: demo(), tools: { refund, orders } }),
    research: researchTeam({ members: { history: writer, machines: writer }, writer: 'history' }),
    inspector: inspector(),
  },
  authenticate: bearer({ ann: 'ann' }),
  http: { dashboard: dashboard() },
})
const { url, httpUrl } = await server.listen(0)
const client = createClient(url, { token: 'ann' })

function start(actor, input) {
  const run = client.start(actor, input)
  void run.end.catch(() => {})
  return run
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu'],
})
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 }, deviceScaleFactor: 1 })
  const picture = async (name) => {
    await page.screenshot({ path: fileURLToPath(new URL(`../docs/${name}.png`, import.meta.url)) })
  }
  await page.goto(`${httpUrl}/#token=ann`)
  await page.waitForSelector('.totals b')
  start('research', 'How did mills get their water?')
  for (const language of ['Norwegian', 'Italian', 'Polish']) start('translate', `The report, in ${language}`)
  await wait(2_000)
  const report = start('report', 'Write about mill races')
  start('support', 'Refund the order of Ada')
  const { id } = await report.opened
  await page.goto(`${httpUrl}/?run=${id}`)
  await page.waitForSelector('.throttle input:enabled')
  await wait(6_000)
  await page.focus('.throttle input')
  for (const _ of 'xxxxxx') await page.keyboard.press('ArrowLeft')
  await wait(9_000)
  await page.evaluate(`document.activeElement.blur(); document.querySelector('.run').scrollTop = 0`)
  await picture('dashboard')

  await page.click('button.danger')
  await page.waitForSelector('.receipt')
  await page.emulateMedia({ colorScheme: 'dark' })
  await wait(1_000)
  await page.evaluate('document.activeElement.blur()')
  await picture('dashboard-dark')

  await page.emulateMedia({ colorScheme: 'light' })
  await page.setViewportSize({ width: 390, height: 760 })
  await page.goto(httpUrl)
  await page.waitForSelector('.need')
  await wait(2_000)
  await picture('dashboard-phone')
} finally {
  await browser.close()
  await client.close()
  await server.close({ drainMs: 0 })
  provider.close()
  provider.closeAllConnections()
}
