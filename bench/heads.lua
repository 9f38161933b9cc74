-- Request heads as browsers send them, for wrk: many user agents and referrers, half with
-- Origin, and never one head repeated. What is asked for comes from the environment.

local AGENTS = 20
local REFERRERS = 100
local HEADS = 20000 -- made before the clock starts, then sent in turn

local path = os.getenv("BENCH_PATH")
local objects = tonumber(os.getenv("BENCH_OBJECTS"))
local unique = tonumber(os.getenv("BENCH_UNIQUE")) -- share of targets never asked for before
local method = os.getenv("BENCH_METHOD")
local origins = tonumber(os.getenv("BENCH_ORIGINS"))
local always = os.getenv("BENCH_ORIGIN_ALWAYS") == "1"
local extra = os.getenv("BENCH_FIELDS")
local closing = os.getenv("BENCH_CLOSING") == "1" -- as nginx asks where nobody told it otherwise
local version = closing and "1.0" or "1.1"
local run = os.getenv("BENCH_RUN") -- tells the targets of one run from another's

local befores, rests, fixed = {}, {}, {}
local at, serial = 0, 0

local function agent(number)
   local version = 118 + number
   if number % 3 == 0 then
      return "Mozilla/5.0 (X11; Linux x86_64; rv:" .. version .. ".0) Gecko/20100101 Firefox/"
         .. version .. ".0", nil
   end
   local brands = string.format(
      '"Chromium";v="%d", "Google Chrome";v="%d", "Not_A Brand";v="24"', version, version)
   return "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/"
      .. version .. ".0.0.0 Safari/537.36", brands
end

local function fields()
   local name, brands = agent(math.random(AGENTS))
   local crossing = always or math.random() < 0.5
   local lines = {
      "Host: " .. wrk.host .. ":" .. wrk.port,
      "Connection: " .. (closing and "close" or "keep-alive"),
      "User-Agent: " .. name,
      "Accept: image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
   }
   if brands then
      table.insert(lines, "sec-ch-ua: " .. brands)
      table.insert(lines, "sec-ch-ua-mobile: ?0")
      table.insert(lines, 'sec-ch-ua-platform: "Windows"')
   end
   if crossing then
      local site = "https://site-" .. math.random(origins) .. ".sites.example"
      table.insert(lines, "Origin: " .. site)
      table.insert(lines, "Sec-Fetch-Mode: cors")
   else
      table.insert(lines, "Sec-Fetch-Mode: no-cors")
   end
   table.insert(lines, "Sec-Fetch-Site: cross-site")
   table.insert(lines, "Sec-Fetch-Dest: image")
   table.insert(lines, "Referer: https://www.example/articles/" .. math.random(REFERRERS))
   table.insert(lines, "Accept-Encoding: gzip, deflate, br, zstd")
   table.insert(lines, "Accept-Language: en-US,en;q=0.9")
   return table.concat(lines, "\r\n") .. "\r\n" .. extra .. "\r\n"
end

function init(args)
   math.randomseed(tonumber(os.getenv("BENCH_SEED")))
   for number = 1, HEADS do
      local rest = " HTTP/" .. version .. "\r\n" .. fields()
      rests[number] = rest
      fixed[number] = method .. " " .. path .. math.random(objects) .. rest
   end
end

function request()
   at = at % HEADS + 1
   if unique > 0 and math.random() < unique then
      serial = serial + 1
      return method .. " " .. path .. run .. "-" .. serial .. rests[at]
   end
   return fixed[at]
end

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      'RESULT {"requests": %d, "microseconds": %d, "bytes": %d, "bad_status": %d, "broken": %d, '
         .. '"median_us": %d, "p99_us": %d}\n',
      summary.requests, summary.duration, summary.bytes, errors.status,
      errors.connect + errors.read + errors.write + errors.timeout,
      latency:percentile(50), latency:percentile(99)))
end
