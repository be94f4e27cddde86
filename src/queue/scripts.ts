/**
 * The Lua scripts, made commands of a client. Run through EVALSHA, loaded again by themselves after SCRIPT FLUSH or a
 * restart; never inside MULTI, where a NOSCRIPT would let the rest commit.
 */
import type { Redis } from 'ioredis'
import action from './lua/action.lua'
import cancel from './lua/cancel.lua'
import claim from './lua/claim.lua'
import common from './lua/common.lua'
import discard from './lua/discard.lua'
import dispatch from './lua/dispatch.lua'
import enqueueOnce from './lua/enqueue-once.lua'
import gauge from './lua/gauge.lua'
import heartbeat from './lua/heartbeat.lua'
import hold from './lua/hold.lua'
import hurry from './lua/hurry.lua'
import look from './lua/look.lua'
import peek from './lua/peek.lua'
import pour from './lua/pour.lua'
import recall from './lua/recall.lua'
import refile from './lua/refile.lua'
import release from './lua/release.lua'
import remember from './lua/remember.lua'
import renew from './lua/renew.lua'
import restore from './lua/restore.lua'
import settle from './lua/settle.lua'
import sift from './lua/sift.lua'
import stretch from './lua/stretch.lua'
import take from './lua/take.lua'

type Argument = string | number | Buffer
/** Called with the number of keys, the keys, the arguments. Bulk strings come back as Buffers. */
type Script = (...args: Argument[]) => Promise<unknown>

const SOURCES = {
  take,
  dispatch,
  claim,
  settle,
  renew,
  release,
  enqueueOnce,
  action,
  heartbeat,
  gauge,
  hold,
  hurry,
  recall,
  refile,
  look,
  restore,
  discard,
  cancel,
  sift,
  stretch,
  peek,
  pour,
  remember,
}

export type Scripts = Readonly<Record<keyof typeof SOURCES, Script>>

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
  for (const [name, source] of Object.entries(SOURCES) as [keyof Scripts, string][]) {
    const command = `resthooks_${name}`
    scripts[name] = (...args) => {
      if (!commands[`${command}Buffer`]) redis.defineCommand(command, { lua: `${common}\n${source}` })
      return commands[`${command}Buffer`]!(...args)
    }
  }
  return scripts as Scripts
}
