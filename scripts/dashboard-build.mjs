// Builds the page of the dashboard into a built package, on the entries of that package.
import { fileURLToPath } from 'node:url'
import react from '@vitejs/plugin-react'
import { build } from 'vite'

const root = fileURLToPath(new URL('../dashboard/', import.meta.url))
const entries = { client: 'client-sdk/index.js', conversation: 'client-sdk/conversation.js', react: 'react/index.js' }

/** @param dist the folder with the compiled package. */
export async function buildDashboard(dist) {
  await build({
    root,
    // Behind whatever path the page is served at.
    base: './',
    configFile: false,
    envDir: false,
    publicDir: false,
    logLevel: 'warn',
    plugins: [react()],
    resolve: {
      // Two of them, as in nested folders of modules, are a blank page.
      dedupe: ['react', 'react-dom'],
      alias: Object.entries(entries).map(([name, path]) => ({
        find: `millrace/${name}`,
        replacement: `${dist}/${path}`,
      })),
    },
    build: {
      emptyOutDir: true,
      outDir: `${dist}/dashboard`,
      target: 'es2023',
      // Nothing in the document itself: its policy allows neither scripts nor styles there.
      assetsInlineLimit: 0,
      modulePreload: { polyfill: false },
      // One small file of styles, with the document: a part of the page that comes later has its look already.
      cssCodeSplit: false,
      sourcemap: false,
      reportCompressedSize: false,
    },
  })
}
