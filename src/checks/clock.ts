/** How far another machine's clock may be from this one's. */
import { aviso, error, ok, type Verdict } from './finding.ts'

const NOTABLE = 2_000
/** What receivers of Standard Webhooks tolerate between `webhook-timestamp` and their clock. */
const TOO_FAR = 5 * 60_000

/** @param skew the other clock less ours, ms */
export function checkClock(name: string, skew: number): Verdict {
  const distance = Math.abs(skew)
  const text = `${skew < 0 ? 'atrasa' : 'adelanta'} ${(distance / 1000).toFixed(1)} s respecto de esta máquina`
  if (distance < NOTABLE) return ok(name, `a ${Math.round(distance)} ms del de esta máquina`)
  const repair = 'sincronice los relojes (chrony, systemd-timesyncd)'
  if (distance < TOO_FAR) return aviso(name, text, repair)
  return error(name, `${text}: los receptores pueden rechazar las firmas`, repair)
}
