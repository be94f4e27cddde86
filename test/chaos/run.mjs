/** `npm run chaos`. */
import { launch } from '../support/launch.mjs'

await launch(new URL('run.ts', import.meta.url))
