import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { App } from './app.tsx'
import { keepToken, takeToken } from './state/credentials.ts'
import { createRouter } from './state/router.ts'
import { createTheme } from './state/theme.ts'
import './styles/base.css'
import './styles/shell.css'
import './styles/runs.css'
import './styles/run.css'
import './styles/timeline.css'
import './styles/conversations.css'

// First of all: the token does not stay in the address.
const token = takeToken(window)
createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <App
      token={token}
      keep={(given) => keepToken(window, given)}
      router={createRouter(window)}
      theme={createTheme(window)}
    />
  </StrictMode>,
)
