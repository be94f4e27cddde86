/** `npm run demo`. */
import { launch } from '../support/launch.mjs'

await launch(new URL('demo.ts', import.meta.url))
