/** The part of cosmiconfig that `files.ts` uses; the package declares it internal and without types. */
declare module 'cosmiconfig/dist/ExplorerSync.js' {
  export interface Found<T> {
    readonly filepath: string
    /** Undefined when the file is blank. */
    readonly config: T | undefined
    readonly isEmpty?: boolean
  }

  export interface Options<T> {
    readonly moduleName: string
    readonly searchPlaces: readonly string[]
    readonly loaders: Readonly<Record<string, (path: string, text: string) => T>>
    readonly transform: (found: Found<T> | null) => Found<T> | null
    readonly ignoreEmptySearchPlaces: boolean
    readonly cache: boolean
    readonly searchStrategy: 'none'
    readonly metaConfigFilePath: null
    readonly mergeImportArrays: boolean
    readonly mergeSearchPlaces: boolean
  }

  export class ExplorerSync<T> {
    constructor(options: Options<T>)
    /** The first of the search places below `from` that can be read. */
    search(from: string): Found<T> | null
    load(path: string): Found<T>
  }
}
