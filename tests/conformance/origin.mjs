// Starts the suite's own origin server on a free port of the loopback interface.
// It names the port itself: "Listening on http://127.0.0.1:PORT/".
// usage: node origin.mjs SUITE_DIRECTORY PID_FILE
import net from 'net'
import path from 'path'
import process from 'process'
import { pathToFileURL } from 'url'

const listen = net.Server.prototype.listen
net.Server.prototype.listen = function () {
  return listen.call(this, 0, '127.0.0.1')
}

process.env.npm_config_protocol = 'http'
process.env.npm_config_port = '80' // only the base that its URL parser wants
process.env.npm_config_pidfile = process.argv[3]
process.stdin.resume().on('end', () => process.exit()) // ends with whoever started it
await import(pathToFileURL(path.resolve(process.argv[2], 'server/server.mjs')))
