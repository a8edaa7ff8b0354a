// Uploads one file by Uppy's tus plugin: `node uppy.mjs NPM_FOLDER '{"endpoint", "file", "options"}'`. Prints a line of
// JSON: how it ended.
import fs from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

const from = (name) => import(pathToFileURL(path.join(process.argv[2], 'node_modules', name, 'lib/index.js')))
const { default: Uppy } = await from('@uppy/core')
const { default: Tus } = await from('@uppy/tus')
const { endpoint, file, options } = JSON.parse(process.argv[3])
const uppy = new Uppy().use(Tus, { endpoint, ...options })
const data = fs.readFileSync(file)
data.size = data.length
uppy.addFile({ name: path.basename(file), type: 'application/octet-stream', data })
const done = await uppy.upload()
const error = done.failed.map((one) => String(one.error)).join()
console.log(JSON.stringify({ ok: done.successful.length, error: error || undefined }))
process.exit(error ? 1 : 0)
