-- Renews the leases of one node, all of its limits in one call.
--
-- KEYS: the nodes' set, then the key of each limit.
-- ARGV: the node; the turn, counting up; a lease's length, the time after which a silent node counts as dead, for how long this
-- node has had no answer (0: it never had one), and the present time (0: Redis' own), all in microseconds; then, as JSON, of each
-- limit [rate, burst, tokens, made, short, turn], as the shard tells them.
-- Answer: nodes alive, whether this one was among them; then of each limit the tokens given and the share in thousandths. Nothing,
-- when the request comes so late that what it says holds no more.
--
-- A limit is kept as MessagePack: level, the tokens that nobody has; at, up to when they were counted; since, when somebody came
-- back after a time in which nobody could ask; nodes, what each was seen with: [when, what it has, what it wants of a lease, what
-- it had made, its turn, what it was given].
-- What nobody and the nodes have together is never more than the burst and half a lease's worth; it grows by the rate. What was
-- spent lately counts as spent at once, which is another half at the most.
local node, turn = ARGV[1], tonumber(ARGV[2])
local lease, silence, quiet, now = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end

local function whole(number)
  return string.format('%.0f', number)
end

local before = tonumber(redis.call('ZSCORE', KEYS[1], node) or nil)
-- After two leases without an answer a node makes tokens itself, which a request of before does not tell of.
local away = math.max(0, quiet - 2 * lease)
if before and quiet > 0 and now - before - quiet > 2 * lease then
  return {}
end
local was_alive = before and before >= now - silence
redis.call('ZADD', KEYS[1], whole(now), node)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. whole(now - silence))
redis.call('PEXPIRE', KEYS[1], 3600000)
local alive, nodes = {}, 0
for _, name in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  alive[name] = true
  nodes = nodes + 1
end

-- What stands where in a node's list.
local SEEN, HAS, WANT, MADE, TURN, GIVEN = 1, 2, 3, 4, 5, 6
local call, pack, unpack_value, max, min, floor = redis.call, cmsgpack.pack, cmsgpack.unpack, math.max, math.min, math.floor

-- What each of those may have who want more than there is: as much for one as for the other, but for what is not wanted.
local function fair_part(full, wants)
  table.sort(wants)
  local left = full
  for place, want in ipairs(wants) do
    local even = left / (#wants - place + 1)
    if want > even then
      return even
    end
    left = left - want
  end
  return full
end

-- What is kept of a limit, if anything is. What another program has put there, of whatever type, counts for nothing and is written
-- over: it must not keep the other limits of the call from being counted.
local function kept(key)
  local value = redis.pcall('GET', key)
  if type(value) == 'table' and not string.find(value.err, 'WRONGTYPE', 1, true) then
    call('GET', key) -- Says so.
  end
  local is_read, limit = pcall(unpack_value, value)
  if is_read and type(limit) == 'table' and type(limit.nodes) == 'table' and tonumber(limit.at) and tonumber(limit.since) then
    return limit
  end
  return { at = now, since = 0, nodes = {} }
end

local function renew(key, told)
  local rate, burst, tokens, made, short, last = told[1], told[2], told[3], told[4], told[5] == 1, told[6]
  local full = rate * lease / 1000000
  local slack = max(1, nodes > 1 and full / 2 or full)

  local limit = kept(key)
  local level, at, since, mine = limit.level, limit.at, limit.since, limit.nodes[node]
  local others, held = {}, 0
  for name, other in pairs(limit.nodes) do
    if not alive[name] then
      limit.nodes[name] = nil
    elseif name ~= node then
      others[#others + 1] = other
      held = held + other[HAS]
    end
  end
  if mine and mine[TURN] >= turn then
    return 0, 0 -- A request that was overtaken: it counts for nothing.
  end
  if not level then
    -- Who has had leases before is not the first one: only its key was lost.
    level = last == 0 and burst + slack or 0
  end
  if mine and mine[TURN] ~= last then
    -- What was given last has never arrived.
    level = level + mine[GIVEN]
    mine[HAS] = mine[HAS] - mine[GIVEN]
  end

  -- What time has brought, as far as there was room for it. While nobody could ask, all nodes have made their shares themselves.
  local gone = max(0, now - at)
  if away > 0 and at <= now - away then
    gone = max(0, now - away - at)
    since = now
  end
  local lately = min(gone, lease / 2)
  local room = burst + slack - held
  level = min(level + rate * (gone - lately) / 1000000, max(0, room - (mine and mine[HAS] or 0)))
  level = level + rate * lately / 1000000

  -- What this node has made itself is paid for, unless all have done so at the same time.
  local charge, spent
  if mine then
    charge = max(0, made - mine[MADE])
    spent = max(0, mine[HAS] + charge - tokens)
    if away > 0 and since >= now - away then
      charge = min(charge, rate * (now - since) / 1000000)
    end
  elseif last == 0 then
    charge = made
    spent = max(0, made - tokens)
  else
    charge = max(0, tokens)
    spent = 0
  end
  level = min(max(-1 - full, level - charge), max(0, room - tokens))

  -- Who wants how much of a lease, and what has gathered for others since they were here.
  local elapsed = mine and max(now - mine[SEEN], 1000) or lease
  local want = short and full or min(full, spent * lease / elapsed)
  local wants = { want }
  for _, other in ipairs(others) do
    if now - other[SEEN] <= lease then
      wants[#wants + 1] = min(full, other[WANT])
    end
  end
  local fair = fair_part(full, wants)
  local reserved = 0
  for _, other in ipairs(others) do
    if now - other[SEEN] <= lease then
      reserved = reserved + min(other[WANT], fair) * max(0, now - other[SEEN]) / lease
    end
  end

  -- Who is short gets all there is; others enough for twice what they need, and an even part of half of the burst (one who is
  -- alone, of all of it), but for what is left for who becomes short. They get it once half of it is gone.
  local grant
  local free = floor(level - reserved)
  if short then
    grant = max(0, free)
  else
    local needed = math.ceil(2 * want)
    local even = nodes > 1 and floor(burst / nodes / 2) or burst
    local spare = floor(level - reserved - slack)
    local target = max(1, needed, even)
    grant = target - tokens
    if 2 * tokens >= target and grant > 0 then
      grant = 0
    elseif grant > 0 then
      grant = max(0, min(needed - tokens, free), min(grant, spare))
    end
  end
  level = level - grant
  limit.level, limit.at, limit.since = level, now, since
  limit.nodes[node] = { now, tokens + grant, want, made, turn, grant }
  call('SET', key, pack(limit), 'PX', 3600000)
  return grant, full > 0 and floor(1000 * min(want, fair) / full) or 0
end

local told = cjson.decode(ARGV[7])
local answer = { nodes, was_alive and 1 or 0 }
for place = 2, #KEYS do
  local grant, share = renew(KEYS[place], told[place - 1])
  answer[#answer + 1] = grant
  answer[#answer + 1] = share
end
return answer
