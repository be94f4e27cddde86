/** The server's stream, while somebody looks: closed when the page is hidden, and when it was paused. */
import { useEffect, useState } from 'preact/hooks'

const PAUSED = 'resthooks-pausado'

export interface LiveState {
  readonly paused: boolean
  toggle(): void
}

/**
 * @param address below `api/vivo`; null: nothing to hear
 * @param heard   event and data
 */
export function useLive(address: string | null, heard: (event: string, data: unknown) => void): LiveState {
  const [paused, setPaused] = useState(sessionStorage.getItem(PAUSED) === '1')
  useEffect(() => {
    if (paused || address === null) return
    let source: EventSource | null = null
    const open = () => {
      source?.close()
      source = null
      if (document.hidden) return
      source = new EventSource(`api/vivo${address}`)
      for (const event of ['inicio', 'nuevas', 'corte']) {
        source.addEventListener(event, (message) => heard(event, JSON.parse((message as MessageEvent<string>).data)))
      }
    }
    open()
    document.addEventListener('visibilitychange', open)
    return () => {
      document.removeEventListener('visibilitychange', open)
      source?.close()
    }
  }, [address, paused])
  const toggle = () => {
    sessionStorage.setItem(PAUSED, paused ? '0' : '1')
    setPaused(!paused)
  }
  return { paused, toggle }
}
