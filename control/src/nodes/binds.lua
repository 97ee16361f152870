-- Counts customers' binds over all nodes, many at a time.
--
-- KEYS: the nodes' set, then the hash of each customer; one customer may come several times.
-- ARGV: the node; the time after which a silent node counts as dead and the present time (0: Redis' own), both in microseconds;
-- then of each: "b MAX" counts one more bind if fewer than MAX are there, "e 1" counts one less, "s COUNT" sets this node's count.
-- Answer: of each 1, or 0 for a bind that is one too many.
--
-- A customer's hash has the count of each node; those of dead nodes count no more, and go.
local node, silence, now = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local alive = { [node] = true }
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], string.format('%.0f', now - silence), '+inf')) do
  alive[name] = true
end

local function bind(key, most)
  local sum = 0
  local fields = redis.call('HGETALL', key)
  for place = 1, #fields, 2 do
    if alive[fields[place]] then
      sum = sum + tonumber(fields[place + 1])
    else
      redis.call('HDEL', key, fields[place])
    end
  end
  if sum >= most then
    return 0
  end
  redis.call('HINCRBY', key, node, 1)
  redis.call('PEXPIRE', key, 3600000)
  return 1
end

local function set(key, count)
  if count <= 0 then
    redis.call('HDEL', key, node)
  else
    redis.call('HSET', key, node, count)
    redis.call('PEXPIRE', key, 3600000)
  end
  return 1
end

local answer = {}
for place = 2, #KEYS do
  local what, number = string.match(ARGV[place + 2], '^(%a) (%d+)$')
  number = tonumber(number)
  if what == 'b' then
    answer[#answer + 1] = bind(KEYS[place], number)
  elseif what == 'e' then
    answer[#answer + 1] = set(KEYS[place], (tonumber(redis.call('HGET', KEYS[place], node)) or 0) - number)
  else
    answer[#answer + 1] = set(KEYS[place], number)
  end
end
return answer
