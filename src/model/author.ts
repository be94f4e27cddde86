/**
 * Who orders what a person does by hand (a pause, a resend): it is kept with what was done, for whoever asks later. Apart, since
 * commands, the page and the audit all name people the same way.
 */
import { hostname, userInfo } from 'node:os'

export interface Author {
  readonly user: string
  readonly host: string
}

/** The user of this process; behind sudo the one who typed it. */
export function currentAuthor(environment: NodeJS.ProcessEnv = process.env): Author {
  return { user: userName(environment), host: hostname() }
}

function userName({ SUDO_USER }: NodeJS.ProcessEnv): string {
  try {
    const { username } = userInfo()
    return username === 'root' && SUDO_USER ? SUDO_USER : username
  } catch {
    // A container's user may have a number and no name.
    return `uid ${process.getuid?.() ?? '?'}`
  }
}

/** `root@vm` */
export function authorName({ user, host }: Author): string {
  return `${user}@${host}`
}
