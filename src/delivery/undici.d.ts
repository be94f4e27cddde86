/** The one class of undici that is used. The package's main file loads the rest as well, and by that a second undici, Node's own: 4 MB. */
declare module 'undici/lib/dispatcher/client.js' {
  export { Client as default } from 'undici'
}
