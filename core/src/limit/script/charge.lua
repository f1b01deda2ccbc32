-- The arithmetic of limits inside Redis: what `rate.rs`, `window.rs` and `slots.rs` do, on the states
-- of counters that lie in one slot. All of them are charged, or none.
--
-- Lua's numbers are exact up to 2^53, and nanoseconds since 1970 are more. So times are milliseconds,
-- and the rest of a millisecond in nanoseconds where a rate needs it. Products are taken apart.
--
-- KEYS: the counters.
-- ARGV: the errand, the caller's time in milliseconds, how far that may be from the server's (-1: as
-- far as it likes), for how long a spent state is kept, how far clocks may differ; then nine for each
-- counter: kind, five numbers of its terms, cost, a number that belongs to the errand, dry run.
--
-- It returns the server's time, and unless the caller's is too far from that, for each counter the
-- state in which it was found (an empty text: none).

local errand, now = ARGV[1], tonumber(ARGV[2])
local skew_of_caller, kept, skew_max = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])

local time = redis.call('TIME')
local server = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if skew_of_caller >= 0 and math.abs(now - server) > skew_of_caller then
  return { server }
end

local floor, max, min = math.floor, math.max, math.min

-- Times with nanoseconds: { ms, ns }.

local function is_later(a, b)
  return a.ms > b.ms or (a.ms == b.ms and a.ns > b.ns)
end

local function plus(a, b)
  local ns = a.ns + b.ns
  local carry = floor(ns / 1000000)
  return { ms = a.ms + b.ms + carry, ns = ns - carry * 1000000 }
end

-- Nothing is earlier than 1970.
local function minus(a, b)
  local ms, ns = a.ms - b.ms, a.ns - b.ns
  if ns < 0 then
    ms, ns = ms - 1, ns + 1000000
  end
  if ms < 0 then
    return { ms = 0, ns = 0 }
  end
  return { ms = ms, ns = ns }
end

local function times(a, count)
  local ns = a.ns * count
  local carry = floor(ns / 1000000)
  return { ms = a.ms * count + carry, ns = ns - carry * 1000000 }
end

-- How much of an amount lies in the last part of a length, rounded up.
local function share(amount, left, length)
  left = min(left, length)
  local high = floor(amount / 32768)
  local low = amount - high * 32768
  local product = high * left
  local quotient = floor(product / length)
  local rest = (product - quotient * length) * 32768 + low * left
  return min(amount, quotient * 32768 + floor((rest + length - 1) / length))
end

local NOTHING = { ms = 0, ns = 0, used = 0, before = 0 }

-- Rates. `used` of a state is the latest moment at which somebody has charged.

local rate = {}

local function moment(state)
  local ahead = max(0, state.used - now)
  if ahead > skew_max then
    ahead = 0
  end
  return { ms = now + ahead, ns = 0 }
end

local function horizon(c, at)
  return plus(at, times(c.interval, c.burst))
end

local function base(c, state, at)
  if is_later(at, state) then
    return at
  end
  local most = horizon(c, at)
  if is_later(state, most) then
    return most
  end
  return state
end

local function of_rate(time, used)
  return { ms = time.ms, ns = time.ns, used = used, before = 0 }
end

function rate.fits(c, state, amount)
  local at = moment(state)
  local after = plus(base(c, state, at), times(c.interval, amount))
  return not is_later(after, horizon(c, at))
end

function rate.take(c, state, amount)
  local at = moment(state)
  return of_rate(plus(base(c, state, at), times(c.interval, amount)), at.ms)
end

function rate.clamp(c, state)
  local most = horizon(c, moment(state))
  if is_later(state, most) then
    return of_rate(most, state.used)
  end
  return state
end

function rate.refund(c, state, amount)
  local at = moment(state)
  return of_rate(base(c, minus(state, times(c.interval, amount)), at), state.used)
end

function rate.owe(c, state, amount)
  local at = moment(state)
  local after, most = plus(base(c, state, at), times(c.interval, amount)), horizon(c, at)
  if is_later(after, most) then
    after = most
  end
  return of_rate(after, at.ms)
end

-- Budgets: what was used in a window, and in the one before.

local function period_end(c, state)
  if c.slides then
    return state.ms - (c.finish - c.begin)
  end
  return state.ms
end

local function place(c, state)
  local finish = period_end(c, state)
  if finish == c.finish then
    return { begin = c.begin, finish = c.finish, used = state.used, before = state.before }
  elseif finish == c.next_finish and max(0, c.finish - now) <= skew_max then
    return { begin = c.finish, finish = finish, used = state.used, before = state.before }
  elseif finish == c.begin and c.slides then
    return { begin = c.begin, finish = c.finish, used = 0, before = state.used }
  elseif finish > c.finish then
    return { begin = c.begin, finish = c.finish, used = min(state.used, c.amount), before = 0 }
  end
  return { begin = c.begin, finish = c.finish, used = 0, before = 0 }
end

local function of_window(c, placed)
  if placed.used == 0 and placed.before == 0 then
    return NOTHING
  end
  local length = c.slides and placed.finish - placed.begin or 0
  return { ms = placed.finish + length, ns = 0, used = placed.used, before = placed.before }
end

local function less(placed, amount, finish)
  if placed.finish == finish then
    placed.used = max(0, placed.used - amount)
  elseif placed.begin == finish then
    placed.before = max(0, placed.before - amount)
  end
  return placed
end

-- What budgets and slots have in common, by what of a state counts.
local function counted(placed_by)
  return {
    take = function(c, state, amount)
      local placed = placed_by(c, state)
      placed.used = placed.used + amount
      return of_window(c, placed)
    end,
    clamp = function(c, state)
      return of_window(c, placed_by(c, state))
    end,
    refund = function(c, state, amount, finish)
      return of_window(c, less(placed_by(c, state), amount, finish))
    end,
  }
end

local window = counted(place)

function window.fits(c, state, amount)
  local placed = place(c, state)
  local left = max(0, placed.finish - max(now, placed.begin))
  local length = max(1, placed.finish - placed.begin)
  return placed.used + share(placed.before, left, length) + amount <= c.amount
end

function window.owe(c, state, amount)
  local placed = place(c, state)
  placed.used = min(placed.used + amount, max(c.amount, placed.used))
  return of_window(c, placed)
end

-- Slots: those of this period and of the one before.

local function place_slots(c, state)
  local placed = place(c, state)
  if period_end(c, state) > c.finish and placed.finish == c.finish then
    return place(c, NOTHING)
  end
  return placed
end

local slots = counted(place_slots)

function slots.fits(c, state, amount)
  local placed = place_slots(c, state)
  return placed.used + placed.before + amount <= c.amount
end

-- Whoever has given slots gets them back.
function slots.owe(_, state)
  return state
end

local KINDS = { rate = rate, window = window, slots = slots }

local function read(number)
  local from = 5 + (number - 1) * 9
  local a, b, d, e, f = tonumber(ARGV[from + 2]), tonumber(ARGV[from + 3]), tonumber(ARGV[from + 4]),
    tonumber(ARGV[from + 5]), tonumber(ARGV[from + 6])
  local counter = {
    kind = KINDS[ARGV[from + 1]],
    cost = tonumber(ARGV[from + 7]),
    number = tonumber(ARGV[from + 8]),
    is_dry_run = ARGV[from + 9] == '1',
    text = redis.call('GET', KEYS[number]) or '',
  }
  if counter.kind == rate then
    counter.interval, counter.burst = { ms = a, ns = b }, d
  else
    counter.amount, counter.begin, counter.finish, counter.next_finish, counter.slides = a, b, d, e, f == 1
  end
  local ms, ns, used, before = string.match(counter.text, '^(%d+) (%d+) (%d+) (%d+)$')
  if ms then
    counter.state = { ms = tonumber(ms), ns = tonumber(ns), used = tonumber(used), before = tonumber(before) }
  end
  return counter
end

local function write(number, counter)
  local state = counter.state
  if not state then
    return
  end
  local text = string.format('%.0f %.0f %.0f %.0f', state.ms, state.ns, state.used, state.before)
  if text == counter.text then
    return
  end
  local lasts = state.ms + 1 + kept - now
  if state.ms == 0 then
    redis.call('DEL', KEYS[number])
  elseif lasts > 0 then
    redis.call('SET', KEYS[number], text, 'PX', string.format('%.0f', lasts))
  end
end

local function lease(counter)
  local state, amount = counter.state or NOTHING, max(counter.number, counter.cost)
  while true do
    if counter.kind.fits(counter, state, amount) then
      return counter.kind.take(counter, state, amount)
    elseif amount == counter.cost then
      return counter.state and counter.kind.clamp(counter, state)
    end
    amount = max(floor(amount / 2), counter.cost)
  end
end

local counters, found, is_refused = {}, { server }, false
for number = 1, #KEYS do
  local counter = read(number)
  counters[number] = counter
  found[number + 1] = counter.text
  if errand == 'charge' and counter.number > 0 then
    counter.state = counter.kind.owe(counter, counter.state or NOTHING, counter.number)
  end
  local state = counter.state
  if errand == 'refund' then
    counter.state = state and counter.kind.refund(counter, state, counter.cost, counter.number)
  elseif errand == 'lease' then
    counter.state = lease(counter)
  else
    counter.state = state and counter.kind.clamp(counter, state)
    counter.is_allowed = counter.kind.fits(counter, counter.state or NOTHING, counter.cost)
    is_refused = is_refused or not (counter.is_allowed or counter.is_dry_run)
  end
end
for number, counter in ipairs(counters) do
  if errand == 'charge' and counter.is_allowed and not is_refused then
    counter.state = counter.kind.take(counter, counter.state or NOTHING, counter.cost)
  end
  write(number, counter)
end
return found
