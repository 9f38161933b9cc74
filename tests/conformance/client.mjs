// Runs the suite against a base URL and prints its results as JSON.
// Fields named after the URL join the suite's own list of those that it does not compare
// (`skipResponseHeaders`, which has Date); without any, the suite runs as published.
// usage: node client.mjs SUITE_DIRECTORY BASE_URL TEST_ID|- [FIELD…]
import path from 'path'
import process from 'process'
import { pathToFileURL } from 'url'

const [directory, base, id, ...fields] = process.argv.slice(2)
const load = file => import(pathToFileURL(path.resolve(directory, file)))

const { skipResponseHeaders } = await load('lib/defines.mjs')
fields.forEach(name => skipResponseHeaders.add(name))
process.env.npm_config_base = base
process.env.npm_config_id = id === '-' ? '' : id
process.env.npm_package_config_id = '' // the suite reads this one when the other is empty
await load('cli.mjs')
