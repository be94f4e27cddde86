/** The door: a user's name and password; or what to do where there is another. */
import { useEffect, useRef, useState } from 'preact/hooks'
import type { Doors } from '../wire.ts'
import { post } from './api.ts'
import { go } from './router.ts'

export function Login({ doors, entered }: { doors: Doors; entered: () => void }) {
  const [error, setError] = useState(doors.error)
  const [busy, setBusy] = useState(false)
  const user = useRef<HTMLInputElement>(null)
  const password = useRef<HTMLInputElement>(null)
  const enter = async (given: unknown) => {
    setBusy(true)
    try {
      await post('entrar', given)
      entered()
    } catch (thrown) {
      setError((thrown as Error).message)
      password.current?.select()
    } finally {
      setBusy(false)
    }
  }
  useEffect(() => {
    user.current?.focus()
    const key = new URLSearchParams(location.hash.slice(1)).get('llave')
    if (key === null) return
    // It is worth nothing any more: not to be kept in the history either.
    go('', { replace: true })
    void enter({ llave: key })
  }, [])
  const submit = (event: Event) => {
    event.preventDefault()
    void enter({ usuario: user.current?.value ?? '', clave: password.current?.value ?? '' })
  }
  return (
    <main class="entrar" tabIndex={-1}>
      <h1>resthooks</h1>
      {doors.puertas.includes('clave') && (
        <form onSubmit={submit}>
          <label>
            Usuario
            <input ref={user} name="usuario" autocomplete="username" autocapitalize="none" required />
          </label>
          <label>
            Clave
            <input ref={password} name="clave" type="password" autocomplete="current-password" required />
          </label>
          <button type="submit" class="principal" disabled={busy}>
            {busy ? 'Entrando…' : 'Entrar'}
          </button>
        </form>
      )}
      <p role="alert" class="mal">
        {error}
      </p>
    </main>
  )
}
