/**
 * Where the page is: its address holds all of its state. Going back shows what was there, at the same place, with the same row in
 * focus: what a view had read is kept by its address (`kept`), where it stood by its place in the history.
 */
import { useEffect, useState } from 'preact/hooks'

export interface Place {
  /** Below the page's base: `mensajes/01M8…`; '' is the start. */
  readonly path: string
  readonly query: URLSearchParams
  /** Came by going back or forth: what was read before is shown again. */
  readonly again: boolean
}

interface Mark {
  /** Of this entry of the history. */
  readonly key: number
  /** The cursors of the pages before this one. */
  readonly trail?: readonly string[]
}

const base = new URL(document.baseURI)
const marks = new Map<number, { y: number; focus: string | null }>()
/** What views read, by address; a few of the last. */
const KEPT = 30
const memory = new Map<string, unknown>()
const listeners = new Set<() => void>()
let place = read(false)

history.scrollRestoration = 'manual'
if (history.state === null) history.replaceState({ key: Date.now() } satisfies Mark, '')

function read(again: boolean): Place {
  const path = decodeURI(location.pathname.slice(base.pathname.length)).replace(/\/$/, '')
  return { path, query: new URLSearchParams(location.search), again }
}

function mark(): Mark {
  return (history.state as Mark | null) ?? { key: 0 }
}

export function trail(): readonly string[] {
  return mark().trail ?? []
}

/** @param to below the base, with its query */
export function go(
  to: string,
  { replace = false, trail }: { replace?: boolean; trail?: readonly string[] } = {},
): void {
  remember()
  const url = new URL(to, base)
  const state: Mark = { key: replace ? mark().key : Date.now(), ...(trail ? { trail } : {}) }
  history[replace ? 'replaceState' : 'pushState'](state, '', url)
  place = read(false)
  if (!replace) {
    window.scrollTo(0, 0)
    // What was in focus is gone with the view: whoever reads aloud is told of the new one.
    queueMicrotask(() => document.querySelector<HTMLElement>('main')?.focus({ preventScroll: true }))
  }
  for (const each of listeners) each()
}

function remember(): void {
  const focus = document.activeElement?.closest<HTMLElement>('[data-fila]')?.dataset.fila ?? null
  marks.set(mark().key, { y: window.scrollY, focus })
}

let current = mark().key
window.addEventListener('popstate', () => {
  marks.set(current, { y: lastY, focus: lastFocus })
  current = mark().key
  place = read(true)
  for (const each of listeners) each()
})

let lastY = 0
let lastFocus: string | null = null
window.addEventListener('scroll', () => {
  lastY = window.scrollY
})
document.addEventListener('focusin', (event) => {
  lastFocus = (event.target as HTMLElement).closest<HTMLElement>('[data-fila]')?.dataset.fila ?? null
})

/** To be called when a view that came back shows what it had: the place and the focus of then. */
export function restore(): void {
  if (!place.again) return
  const was = marks.get(mark().key)
  if (!was) return
  const row = was.focus === null ? null : document.querySelector<HTMLElement>(`[data-fila="${CSS.escape(was.focus)}"]`)
  const target = row?.querySelector<HTMLElement>('a') ?? row
  target?.focus({ preventScroll: true })
  window.scrollTo(0, was.y)
}

export function usePlace(): Place {
  const [now, set] = useState(place)
  useEffect(() => {
    const changed = () => {
      current = mark().key
      set(place)
    }
    listeners.add(changed)
    return () => {
      listeners.delete(changed)
    }
  }, [])
  return now
}

export function kept<T>(key: string): T | undefined {
  return memory.get(key) as T | undefined
}

export function keep(key: string, value: unknown): void {
  memory.delete(key)
  memory.set(key, value)
  if (memory.size > KEPT) memory.delete(memory.keys().next().value!)
}

/** Nothing of what was read is true any more: somebody acted, or somebody else is there. */
export function forget(): void {
  memory.clear()
}

/** Links of ours change the view without a new document. */
document.addEventListener('click', (event) => {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey)
    return
  const link = (event.target as Element).closest('a')
  if (link?.target !== '' || link.hasAttribute('download') || link.origin !== base.origin) return
  if (!link.pathname.startsWith(base.pathname) || link.pathname.startsWith(`${base.pathname}api/`)) return
  event.preventDefault()
  go(link.href)
})
