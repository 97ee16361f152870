-- Renews the leases of one node, all of its limits in one call.
--
-- KEYS: the nodes' set, then the hash of each limit.
-- ARGV: the node; the turn, counting up; a lease's length, the time after which a silent node counts as dead, for how long this
-- node has made tokens itself, and the present time (0: Redis' own), all in microseconds; then of each limit
-- "rate burst tokens made short turn", as the shard tells them.
-- Answer: nodes alive, whether this one was among them; then of each limit the tokens given and the share in thousandths.
--
-- A limit's hash has: level, the tokens that nobody has; at, up to when they were counted; since, when somebody came back after a
-- time in which nobody could ask; and for each node "n:NODE", what it has, what it wants, and what it was given last.
-- What nobody and the nodes have together is never more than the burst and half a lease's worth; it grows by the rate. What was
-- spent lately counts as spent at once, which is another half at the most.
local node, turn = ARGV[1], tonumber(ARGV[2])
local lease, silence, away, now = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end

local function whole(number)
  return string.format('%.0f', number)
end

local before = redis.call('ZSCORE', KEYS[1], node)
local was_alive = before and tonumber(before) >= now - silence
redis.call('ZADD', KEYS[1], whole(now), node)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. whole(now - silence))
redis.call('PEXPIRE', KEYS[1], 3600000)
local alive, nodes = {}, 0
for _, name in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  alive[name] = true
  nodes = nodes + 1
end

local function read_node(value)
  local seen, has, want, made, at_turn, given =
    string.match(value, '^(%d+) (%-?%d+) ([%d.]+) (%d+) (%d+) (%-?%d+)$')
  return {
    seen = tonumber(seen), has = tonumber(has), want = tonumber(want), made = tonumber(made), turn = tonumber(at_turn),
    given = tonumber(given),
  }
end

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

local function renew(key, told)
  local rate, burst, tokens, made, short, last = string.match(told, '^(%d+) (%d+) (%-?%d+) (%d+) (%d) (%d+)$')
  rate, burst, tokens, made, last = tonumber(rate), tonumber(burst), tonumber(tokens), tonumber(made), tonumber(last)
  short = short == '1'
  local full = rate * lease / 1000000
  local slack = math.max(1, nodes > 1 and full / 2 or full)

  local level, at, since, mine, others, held = nil, now, 0, nil, {}, 0
  local fields = redis.call('HGETALL', key)
  for place = 1, #fields, 2 do
    local name, value = fields[place], fields[place + 1]
    if name == 'level' then
      level = tonumber(value)
    elseif name == 'at' then
      at = tonumber(value)
    elseif name == 'since' then
      since = tonumber(value)
    elseif name == 'n:' .. node then
      mine = read_node(value)
    elseif alive[string.sub(name, 3)] then
      local other = read_node(value)
      others[#others + 1] = other
      held = held + other.has
    else
      redis.call('HDEL', key, name)
    end
  end
  if mine and mine.turn >= turn then
    return 0, 0 -- A request that was overtaken: it counts for nothing.
  end
  if not level then
    -- Who has had leases before is not the first one: only the hash was lost.
    level = last == 0 and burst + slack or 0
  end
  if mine and mine.turn ~= last then
    -- What was given last has never arrived.
    level = level + mine.given
    mine.has = mine.has - mine.given
  end

  -- What time has brought, as far as there was room for it. While nobody could ask, all nodes have made their shares themselves.
  local gone = math.max(0, now - at)
  if away > 0 and at <= now - away then
    gone = math.max(0, now - away - at)
    since = now
  end
  local lately = math.min(gone, lease / 2)
  local room = burst + slack - held
  level = math.min(level + rate * (gone - lately) / 1000000, math.max(0, room - (mine and mine.has or 0)))
  level = level + rate * lately / 1000000

  -- What this node has made itself is paid for, unless all have done so at the same time.
  local charge, spent
  if mine then
    charge = math.max(0, made - mine.made)
    spent = math.max(0, mine.has + charge - tokens)
    if away > 0 and since >= now - away then
      charge = math.min(charge, rate * (now - since) / 1000000)
    end
  elseif last == 0 then
    charge = made
    spent = math.max(0, made - tokens)
  else
    charge = math.max(0, tokens)
    spent = 0
  end
  level = math.min(math.max(-1 - full, level - charge), math.max(0, room - tokens))

  -- Who wants how much of a lease, and what has gathered for others since they were here.
  local elapsed = mine and math.max(now - mine.seen, 1000) or lease
  local want = short and full or math.min(full, spent * lease / elapsed)
  local wants = { want }
  for _, other in ipairs(others) do
    if now - other.seen <= lease then
      wants[#wants + 1] = math.min(full, other.want)
    end
  end
  local fair = fair_part(full, wants)
  local reserved = 0
  for _, other in ipairs(others) do
    if now - other.seen <= lease then
      reserved = reserved + math.min(other.want, fair) * math.max(0, now - other.seen) / lease
    end
  end

  -- Who is short gets all there is; others enough for twice what they need, and an even part of half of the burst (one who is
  -- alone, of all of it), but for what is left for who becomes short.
  local grant
  local free = math.floor(level - reserved)
  if short then
    grant = math.max(0, free)
  else
    local needed = math.ceil(2 * want)
    local even = nodes > 1 and math.floor(burst / nodes / 2) or burst
    local spare = math.floor(level - reserved - slack)
    local target = math.max(1, needed, even)
    grant = target - tokens
    if grant > 0 then
      grant = math.max(0, math.min(needed - tokens, free), math.min(grant, spare))
    end
  end
  level = level - grant
  local entry = string.format('%.0f %d %.6f %.0f %.0f %d', now, tokens + grant, want, made, turn, grant)
  redis.call('HSET', key, 'level', string.format('%.6f', level), 'at', whole(now), 'since', whole(since), 'n:' .. node, entry)
  redis.call('PEXPIRE', key, 3600000)
  return grant, full > 0 and math.floor(1000 * math.min(want, fair) / full) or 0
end

local answer = { nodes, was_alive and 1 or 0 }
for place = 2, #KEYS do
  local grant, share = renew(KEYS[place], ARGV[place + 5])
  answer[#answer + 1] = grant
  answer[#answer + 1] = share
end
return answer
