/** A temporary folder with configuration files, and loading from it with an environment of its own. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { onTestFinished } from 'vitest'
import type { Config, ListenerConfig } from '../../src/config/config.ts'
import type { LoadOptions } from '../../src/config/files.ts'
import { loadConfig } from '../../src/config/load.ts'
import { ConfigError } from '../../src/errors.ts'

export interface Folder {
  readonly path: string
  write(name: string, content: string | Buffer, mode?: number): string
  load(options?: LoadOptions): Config
  /** The message of the ConfigError that loading ends in. */
  errors(options?: LoadOptions): string
}

/** Removed when the test ends. Files are private (0600) unless told otherwise. */
export function folder(files: Readonly<Record<string, string | Buffer>> = {}): Folder {
  const path = mkdtempSync(join(tmpdir(), 'resthooks-config-'))
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  const write = (name: string, content: string | Buffer, mode = 0o600): string => {
    const file = join(path, name)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, content, { mode })
    return file
  }
  for (const [name, content] of Object.entries(files)) write(name, content)
  const load = (options: LoadOptions = {}): Config => loadConfig({ cwd: path, environment: {}, ...options })
  const errors = (options: LoadOptions = {}): string => {
    try {
      load(options)
    } catch (error) {
      if (error instanceof ConfigError) return error.message
      throw error
    }
    throw new Error('the configuration was expected to have errors')
  }
  return { path, write, load, errors }
}

/** What one resthooks.ini becomes. */
export function load(ini: string | Buffer, environment: NodeJS.ProcessEnv = {}): Config {
  return folder({ 'resthooks.ini': ini }).load({ environment })
}

export function errorsOf(ini: string, environment: NodeJS.ProcessEnv = {}): string {
  return folder({ 'resthooks.ini': ini }).errors({ environment })
}

/** `[listener x]` with a url and these lines. */
export function listener(lines: string, environment: NodeJS.ProcessEnv = {}): ListenerConfig {
  return load(listenerIni(lines), environment).listeners.get('x')!
}

export function listenerIni(lines: string): string {
  return `[listener x]\nurl = https://x.example/\n${lines}\n`
}
