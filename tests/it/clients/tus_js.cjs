// Uploads one file by tus-js-client: `node tus_js.cjs NPM_FOLDER '{"endpoint", "file", "store", "options"}'`. Prints a
// line of JSON: how it ended, and from where on it sent.
const { createRequire } = require('node:module')
const fs = require('node:fs')
const path = require('node:path')
const { PassThrough } = require('node:stream')

const tus = createRequire(path.join(process.argv[2], 'package.json'))('tus-js-client')
const { endpoint, file, store, stream, options } = JSON.parse(process.argv[3])
const told = { first: null, url: null }
const end = (more) => {
  console.log(JSON.stringify({ ...told, ...more }))
  process.exit(more.error ? 1 : 0)
}
// As a stream without a name its length is not known before its end; of a file with one the client announces a last
// chunk of a deferred length longer than it is.
const source = stream ? fs.createReadStream(file).pipe(new PassThrough()) : fs.createReadStream(file)
const upload = new tus.Upload(source, {
  endpoint,
  retryDelays: [],
  metadata: { filename: path.basename(file), filetype: 'application/octet-stream' },
  urlStorage: new tus.FileUrlStorage(store),
  ...options,
  onProgress: (sent) => {
    told.first ??= sent
  },
  onUploadUrlAvailable: () => {
    told.url = upload.url
  },
  onSuccess: () => end({}),
  onError: (error) => end({ error: String(error) }),
})
if (stream) upload.start()
else upload.findPreviousUploads().then((previous) => {
  told.known = previous.length
  if (previous.length > 0) upload.resumeFromPreviousUpload(previous[0])
  upload.start()
})
