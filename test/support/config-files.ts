/** resthooks.ini and instalador.env written from objects. */
export type IniValue = string | number | readonly string[]
/** By section, '' = above the first one. A list becomes `key[]` lines. */
export type IniSections = Record<string, Record<string, IniValue>>

export function iniText(sections: IniSections): string {
  return Object.entries(sections)
    .map(([section, settings]) => {
      const lines = Object.entries(settings).flatMap(([key, value]) =>
        Array.isArray(value)
          ? value.map((each) => `${key}[] = ${quoted(each)}`)
          : [`${key} = ${quoted(value as string | number)}`],
      )
      return [...(section ? [`[${section}]`] : []), ...lines, ''].join('\n')
    })
    .join('\n')
}

export function envText(variables: Readonly<Record<string, string>>): string {
  return Object.entries(variables)
    .map(([name, value]) => `${name}="${value}"\n`)
    .join('')
}

function quoted(value: string | number): string {
  const text = String(value)
  return /^[\w.:/@-]*$/.test(text) ? text : `"${text}"`
}
