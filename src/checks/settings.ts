/** Each setting with its value and where it came from. Secrets are never shown. */
import type { Config, Origin, Source } from '../config/config.ts'
import { isSecret } from '../config/secret-values.ts'
import { maskUrl } from '../delivery/mask.ts'
import { MASK } from '../model/secrets.ts'

export interface SettingRow {
  readonly ajuste: string
  /** `***` for a secret; null where it has no value. */
  readonly valor: string | null
  readonly origen: string
}

/** In the order in which they were read. */
export function settingRows(config: Config): SettingRow[] {
  return [...config.origins].map(([name, source]) => ({
    ajuste: name,
    valor: shown(config, name, source),
    origen: originText(source),
  }))
}

function originText(origin: Origin): string {
  switch (origin.kind) {
    case 'environment':
      return `entorno, ${origin.variable}`
    case 'env-file':
      return `${origin.file}, ${origin.variable}`
    case 'ini':
      return origin.line === null ? origin.file : `${origin.file}:${origin.line}`
    case 'default':
      return 'por omisión'
  }
}

function shown({ listeners }: Config, name: string, source: Source): string | null {
  const text = source.shown() ?? source.written
  if (text === null || text === '') return null
  const at = name.lastIndexOf('.')
  if (isSecret(name.slice(at + 1))) return MASK
  const listener = name.startsWith('listener ') ? listeners.get(name.slice('listener '.length, at)) : undefined
  return maskUrl(text, new Set(listener?.hidden))
}
