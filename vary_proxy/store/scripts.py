"""What has to happen in one piece on a Redis server. All keys of a call share one slot."""

# KEYS: the row, then the blocks that must be there; the epochs, where the call names one.
# ARGV: version expected, generation expected, new version, lifetime in ms, channel, message,
#       new generation (empty: as it was), the epoch that is to be behind no fence (empty: any),
#       number of fields to drop, these, then pairs of field and value to set.
# Setting comes before dropping: it is what a full server refuses, and then nothing was done.
APPLY = """
local had = redis.call('HMGET', KEYS[1], 'n', 'g')
if (had[2] or '') ~= ARGV[2] then return 'purged' end
if (had[1] or '') ~= ARGV[1] then return 'changed' end
local blocks = #KEYS
if ARGV[8] ~= '' then
  local fence = redis.call('HGET', KEYS[blocks], 'f:all')
  if fence and tonumber(fence) > tonumber(ARGV[8]) then return 'purged' end
  blocks = blocks - 1
end
for i = 2, blocks do
  if redis.call('EXISTS', KEYS[i]) == 0 then return 'bodiless' end
end
local gone = tonumber(ARGV[9])
redis.call('HSET', KEYS[1], 'n', ARGV[3], unpack(ARGV, 10 + gone))
if ARGV[7] ~= '' then redis.call('HSET', KEYS[1], 'g', ARGV[7]) end
if gone > 0 then redis.call('HDEL', KEYS[1], unpack(ARGV, 10, 9 + gone)) end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[4]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
if ARGV[6] ~= '' then redis.call('PUBLISH', ARGV[5], ARGV[6]) end
return 'done'
"""

# KEYS: the row. ARGV: a new generation, lifetime in ms. Of which generation the row is from now on.
MARK = """
local had = redis.call('HGET', KEYS[1], 'g')
if had and had ~= '' then return had end
redis.call('HSET', KEYS[1], 'g', ARGV[1])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return ARGV[1]
"""

# KEYS: a hash and a string to try it with. ARGV: channel. Every command that is asked for
# elsewhere: what a user may not do, or the server does not know, shows before it is needed.
TRY = """
redis.call('HSET', KEYS[1], 'n', '1', 'v', '1')
redis.call('PEXPIRE', KEYS[1], 1000)
redis.call('PTTL', KEYS[1])
redis.call('HGET', KEYS[1], 'n')
redis.call('HMGET', KEYS[1], 'n', 'g')
redis.call('HGETALL', KEYS[1])
redis.call('HLEN', KEYS[1])
redis.call('HDEL', KEYS[1], 'v')
redis.call('TYPE', KEYS[1])
redis.call('EXISTS', KEYS[1])
redis.call('UNLINK', KEYS[1])
redis.call('SET', KEYS[2], '1', 'PX', 1000)
redis.call('GET', KEYS[2])
redis.call('DEL', KEYS[2])
redis.call('TIME')
redis.call('PUBLISH', ARGV[1], '')
return 1
"""

# KEYS: blocks. ARGV: their lifetime from now on in ms.
KEEP = """
for i = 1, #KEYS do redis.call('PEXPIRE', KEYS[i], ARGV[1]) end
"""

# KEYS: blocks. ARGV: the lifetime in ms that they are to have at least; what has gone stays gone.
PROLONG = """
for i = 1, #KEYS do
  if redis.call('PTTL', KEYS[i]) < tonumber(ARGV[1]) then
    redis.call('PEXPIRE', KEYS[i], ARGV[1])
  end
end
"""

# KEYS: the row. ARGV: new generation, lifetime of the tombstone in ms, channel, message.
# Dropping comes first: it takes no room. A tombstone that is refused, or evicted, leaves a row of
# no generation, and under that nothing is published.
WIPE = """
local was = {}
if redis.call('TYPE', KEYS[1]).ok == 'hash' then was = redis.call('HGETALL', KEYS[1]) end
redis.call('UNLINK', KEYS[1])
redis.pcall('HSET', KEYS[1], 'g', ARGV[1])
redis.pcall('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PUBLISH', ARGV[3], ARGV[4])
return was
"""

# KEYS: the epochs. ARGV: field (``all`` or a tag's), ``h``, ``s`` or ``f`` (a fence), lifetime in
# ms, channel, message, the most fields. Numbers grow with the server's clock and never go back;
# when they were lost, everything before counts as purged, and when tags are too many, likewise. An
# empty field only makes sure that there is a number: of several who do so at once the first one's.
# PEXPIRE comes first since a full server refuses the first write that takes room, and none after
# one that takes none.
ADVANCE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local had = tonumber(redis.call('HGET', KEYS[1], 'latest') or '0')
if ARGV[1] == '' and had > 0 then return string.format('%.0f', had) end
local at = math.max(now, had + 1)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
if had == 0 or redis.call('HLEN', KEYS[1]) > tonumber(ARGV[6]) then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'h:all', string.format('%.0f', at))
end
if ARGV[1] ~= '' then
  redis.call('HSET', KEYS[1], ARGV[2] .. ':' .. ARGV[1], string.format('%.0f', at))
end
redis.call('HSET', KEYS[1], 'latest', string.format('%.0f', at))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
if ARGV[5] ~= '' then redis.call('PUBLISH', ARGV[4], ARGV[5]) end
return string.format('%.0f', at)
"""

# KEYS: a flight, its headway, whether somebody follows. ARGV: owner, lifetime in ms, headway
# (empty: as it was), channel, message. 0: it is somebody else's; 1: nobody follows; 2: some do.
LEAD = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
if ARGV[3] == '' then
  redis.call('PEXPIRE', KEYS[2], ARGV[2])
else
  redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[2])
  redis.call('PUBLISH', ARGV[4], ARGV[5])
end
return 1 + redis.call('EXISTS', KEYS[3])
"""

# KEYS: as above. ARGV: how long in ms this counts as following, channel, message.
# The flight's owner and its headway; empty: there is none.
FOLLOW = """
local owner = redis.call('GET', KEYS[1]) or ''
if owner ~= '' then
  if redis.call('EXISTS', KEYS[3]) == 0 then redis.call('PUBLISH', ARGV[2], ARGV[3]) end
  redis.pcall('SET', KEYS[3], '1', 'PX', ARGV[1])
end
return {owner, redis.call('GET', KEYS[2]) or ''}
"""

# KEYS: a flight, its headway. ARGV: owner, how long in ms its last headway is kept, that headway
# (empty: none), channel, message.
LAND = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
if ARGV[3] == '' then
  redis.call('DEL', KEYS[2])
else
  redis.pcall('SET', KEYS[2], ARGV[3], 'PX', ARGV[2])
end
redis.call('PUBLISH', ARGV[4], ARGV[5])
return 1
"""
