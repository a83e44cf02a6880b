import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { build, type Plugin } from 'esbuild'
import type { Codec } from './vectors.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const require = createRequire(import.meta.url)

/** One text of one file of the codec, and what stands there instead. */
export type Break = { readonly file: string; readonly find: string; readonly replace: string }

/**
 * A copy of the whole codec, both decoders and both encoders, in memory; with a break, one of its files has another text.
 * @throws when what the break looks for does not stand in its file exactly once, or its file is none of the codec.
 */
export async function codecWith(broken?: Break): Promise<Codec> {
  const { outputFiles, metafile } = await build({
    absWorkingDir: root,
    entryPoints: ['test/helpers/codec-paths.ts'],
    bundle: true,
    write: false,
    metafile: true,
    platform: 'node',
    format: 'cjs',
    packages: 'external',
    plugins: broken ? [replacing(broken, replaced(broken))] : [],
  })
  if (broken && !(broken.file in metafile.inputs)) throw new Error(`${broken.file} is no file of the codec`)
  const module = { exports: {} }
  // eslint-disable-next-line @typescript-eslint/no-implied-eval, @typescript-eslint/no-unsafe-call -- our own source
  new Function('module', 'exports', 'require', outputFiles[0]?.text ?? '')(module, module.exports, require)
  return module.exports as Codec
}

function replacing({ file }: Break, contents: string): Plugin {
  const filter = new RegExp(`/${file.replaceAll('.', '\\.')}$`)
  return { name: 'break', setup: ({ onLoad }) => onLoad({ filter }, () => ({ loader: 'ts', contents })) }
}

function replaced({ file, find, replace }: Break): string {
  const [before, after, ...more] = readFileSync(root + file, 'utf8').split(find)
  if (before === undefined || after === undefined || more.length > 0)
    throw new Error(`this does not stand in ${file} exactly once: ${find}`)
  return before + replace + after
}
