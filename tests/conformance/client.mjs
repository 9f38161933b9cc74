// Runs the suite's tests, by its own client, against a base URL; prints the results as JSON.
// Fields named after the test join the suite's list of those that it does not compare
// (`skipResponseHeaders`, which has Date); without any, the suite runs as published.
// usage: node client.mjs SUITE_DIRECTORY BASE_URL TEST_ID[,TEST_ID…]|- [FIELD…]
// A single test also prints its messages.
import path from 'path'
import process from 'process'
import { createRequire } from 'module'
import { pathToFileURL } from 'url'

const [directory, base, id, ...fields] = process.argv.slice(2)
const load = file => import(pathToFileURL(path.resolve(directory, file)))

const { skipResponseHeaders } = await load('lib/defines.mjs')
const { runTests, getResults } = await load('client/runner.mjs')
const suites = [...(await load('tests/index.mjs')).default]
suites.push((await load('tests/surrogate-control.mjs')).default)
const fetch = createRequire(pathToFileURL(path.resolve(directory, 'cli.mjs')))('node-fetch')

// What never ends fails its own test, instead of stopping all of them.
const within = promise => {
  let timer
  const late = new Promise((resolve, reject) => {
    timer = setTimeout(() => reject(new Error('no answer in 15 seconds')), 15000)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

const patient = async (url, init) => {
  const response = await within(fetch(url, init))
  const text = response.text.bind(response)
  response.text = () => within(text())
  return response
}

fields.forEach(name => skipResponseHeaders.add(name))
const wanted = id.split(',')
if (id !== '-') {
  suites.forEach(suite => { suite.tests = suite.tests.filter(test => wanted.includes(test.id)) })
  suites.forEach(suite => suite.tests.forEach(test => { test.dump = wanted.length === 1 }))
}
await runTests(suites, patient, false, base)
console.log(JSON.stringify(getResults(), null, 2))
