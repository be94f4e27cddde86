/**
 * The Lua scripts, made commands of a client. Run through EVALSHA, loaded again by themselves after SCRIPT FLUSH or a
 * restart; never inside MULTI, where a NOSCRIPT would let the rest commit.
 */
import type { Redis } from 'ioredis'
import common from './lua/common.lua'
import * as sources from './lua/sources.ts'

type Argument = string | number | Buffer
/** Called with the number of keys, the keys, the arguments. Bulk strings come back as Buffers. */
type Script = (...args: Argument[]) => Promise<unknown>

export type Scripts = Readonly<Record<keyof typeof sources, Script>>

/** Made once a client, since every operation asks for them. */
const MADE = new WeakMap<Redis, Scripts>()

/** The scripts as functions of a client. Each is defined on it when it is first used: `send` uses one of them at most. */
export function scriptsOf(redis: Redis): Scripts {
  let scripts = MADE.get(redis)
  if (scripts === undefined) {
    scripts = makeScripts(redis)
    MADE.set(redis, scripts)
  }
  return scripts
}

function makeScripts(redis: Redis): Scripts {
  const commands = redis as unknown as Record<string, Script>
  const scripts: Partial<Record<keyof Scripts, Script>> = {}
  for (const [name, source] of Object.entries(sources) as [keyof Scripts, string][]) {
    const command = `resthooks_${name}`
    scripts[name] = (...args) => {
      if (!commands[`${command}Buffer`]) redis.defineCommand(command, { lua: `${common}\n${source}` })
      return commands[`${command}Buffer`]!(...args)
    }
  }
  return scripts as Scripts
}
