declare module '*.lua' {
  const source: string
  export default source
}

/** The version of package.json, put in by the build. */
declare const __VERSION__: string

/** The commit that was built, put in by the build; empty where it was not known. */
declare const __COMMIT__: string
