/** Debian's Chromium, for what only a browser shows. */
import { existsSync } from 'node:fs'
import { type Browser, chromium } from 'playwright-core'

const CHROMIUM = '/usr/bin/chromium'

/** Why there is none; null: there is one. */
export const NO_CHROMIUM = existsSync(CHROMIUM) ? null : `falta ${CHROMIUM} (apt-get install chromium)`

/** With a folder of its own, and silent towards the network. */
export function openBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: CHROMIUM,
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })
}
