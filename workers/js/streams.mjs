// What bodies need and Rust's bindings do not offer. Imported by the wasm module.

// Most bytes of a body that are kept, so that it can be sent once more: as many as in a pod.
const KEPT_MAX = 65536;

// The longest time that the platform's timers know: 24 days.
const TIMER_MAX = 2 ** 31 - 1;

// A client's request body on its way to an origin: bounded, and known to be whole or not.
//
// An origin takes it chunk by chunk. As long as all that has been taken is kept, another attempt can send it from the start.
export class ClientBody {
  #reader;
  #length;
  #max;
  #read = 0;
  // The chunk that was read from the client and that no origin has taken yet, and the reading of the next one: an attempt that ends does not end it.
  #held;
  #reading;
  // The chunks that have been taken, in order, while they are few bytes.
  #kept = [];
  #keptBytes = 0;
  // Which attempt sends; an earlier one takes no more.
  #attempt = 0;
  #moved = false;
  // What holds the client's bytes back, if a limit does; what of the held chunk may go by now, and the waiting for it, which no attempt ends either.
  // What is kept has gone once already, and goes again at once.
  #pacer;
  #due;
  #pacing;
  intact = true;
  // Whether the client is waited for.
  waits = false;
  failure = "";

  constructor(stream, length, max) {
    this.#reader = stream.getReader();
    this.#length = length;
    this.#max = max;
  }

  // `attempt` is the fetch's AbortController. A body that fails ends the fetch: were it the stream that failed, the origin would see a shorter
  // body that looks whole.
  open(attempt) {
    const through = this.#length === undefined ? new IdentityTransformStream() : new FixedLengthStream(this.#length);
    this.#send(through.writable.getWriter(), attempt);
    return through.readable;
  }

  // The first who says so counts.
  pace(pacer) {
    if (this.#pacer === undefined) this.#pacer = pacer;
    else pacer.free();
  }

  // What waits for its pace waits neither for the client nor for the origin.
  moved() {
    const moved = this.#moved || this.#pacing !== undefined;
    this.#moved = false;
    return moved;
  }

  async #send(writer, attempt) {
    const number = ++this.#attempt;
    try {
      for (const chunk of this.#kept) await writer.write(chunk);
      for (;;) {
        if (this.#held === undefined) await (this.#reading ??= this.#next());
        if (number !== this.#attempt) return;
        if (this.#held === undefined) break;
        if (this.#pacer !== undefined && this.#due === undefined) await (this.#pacing ??= this.#wait());
        if (number !== this.#attempt) return;
        const chunk = this.#due ?? this.#held;
        // Settles when the origin has taken the chunk: these streams keep none.
        await writer.write(chunk);
        if (number !== this.#attempt) return;
        this.#due = undefined;
        this.#held = chunk.byteLength < this.#held.byteLength ? this.#held.subarray(chunk.byteLength) : undefined;
        this.#keep(chunk);
        this.#moved = true;
      }
      await writer.close();
    } catch (error) {
      // An origin that wants no more of the body is no failure of the body.
      if (this.failure !== "") attempt.abort(error);
    }
  }

  // Waits for the time of what goes next of the held chunk.
  async #wait() {
    const chunk = this.#held.subarray(0, this.#pacer.chunk);
    await itsTime(this.#pacer, chunk.byteLength);
    this.#due = chunk;
    this.#pacing = undefined;
  }

  #keep(chunk) {
    this.#keptBytes += chunk.byteLength;
    if (this.#keptBytes <= KEPT_MAX) {
      this.#kept.push(chunk);
    } else {
      this.#kept = [];
      this.intact = false;
    }
  }

  // Holds the next chunk; none at the end.
  async #next() {
    this.waits = true;
    const { done, value } = await this.#reader.read().catch((error) => this.#fail("aborted", error));
    this.waits = false;
    if (done) return;
    this.#read += value.byteLength;
    if (this.#read > this.#max) this.#fail("too large", new RangeError("the body is too large"));
    this.#held = value;
    this.#reading = undefined;
  }

  #fail(failure, error) {
    this.failure = failure;
    throw error;
  }
}

// A stream that tells how it ended: an array of the stream to read and a promise of "whole", "broken" or "unwanted". With a length its Content-Length
// stays.
export function watched(stream, length) {
  const through = length === undefined ? new IdentityTransformStream() : new FixedLengthStream(length);
  const ended = stream.pipeTo(through.writable, { preventCancel: true }).then(
    () => "whole",
    () => whoseFault(stream),
  );
  return [through.readable, ended];
}

// A stream that has failed is closed with an error; one that nobody wants to read on is not closed.
async function whoseFault(stream) {
  const reader = stream.getReader();
  let fault = "unwanted";
  reader.closed.catch(() => (fault = "broken"));
  await new Promise((resolve) => setTimeout(resolve, 0));
  if (fault === "unwanted") reader.cancel().catch(() => {});
  return fault;
}

export function split(stream) {
  return stream.tee();
}

// Waits until the next so many bytes may go.
async function itsTime(pacer, bytes) {
  const wait = pacer.take(bytes);
  if (wait > 0) await new Promise((resolve) => setTimeout(resolve, Math.min(wait, TIMER_MAX)));
  pacer.waited();
}

// A stream of the same bytes at the pace that `pacer` says: an array of the stream to read and a promise of "whole", "broken" or "unwanted". The
// source is a stream or a Uint8Array. With a length its Content-Length stays.
export function paced(source, length, pacer) {
  const through = length === undefined ? new IdentityTransformStream() : new FixedLengthStream(length);
  const reader = source instanceof Uint8Array ? readerOf(source) : source.getReader();
  return [through.readable, pass(reader, through.writable.getWriter(), pacer).finally(() => pacer.free())];
}

function readerOf(bytes) {
  let next = { done: false, value: bytes };
  return {
    async read() {
      const read = next;
      next = { done: true };
      return read;
    },
    async cancel() {},
  };
}

async function pass(reader, writer, pacer) {
  let fault;
  try {
    for (;;) {
      fault = "broken";
      const { done, value } = await reader.read();
      if (done) break;
      fault = "unwanted";
      await send(value, writer, pacer);
    }
    await writer.close();
    return "whole";
  } catch (error) {
    writer.abort(error).catch(() => {});
    reader.cancel().catch(() => {});
    return fault;
  }
}

// That the client has gone shows when a piece is written: the platform does not tell before.
async function send(bytes, writer, pacer) {
  const { chunk } = pacer;
  for (let at = 0; at < bytes.byteLength; at += chunk) {
    const piece = bytes.subarray(at, at + chunk);
    await itsTime(pacer, piece.byteLength);
    await writer.write(piece);
    pacer.replied(piece.byteLength);
  }
}

// All bytes of a stream; rejects when it breaks off, or has more than `max` bytes.
export async function collect(stream, max) {
  // The reader itself: an asynchronous iterator costs several promises a chunk.
  const reader = stream.getReader();
  const chunks = [];
  let bytes = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    bytes += value.byteLength;
    if (bytes > max) {
      reader.cancel().catch(() => {});
      throw new RangeError(`longer than ${max} bytes`);
    }
    chunks.push(value);
  }
  if (chunks.length === 1) return chunks[0];
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.byteLength;
  }
  return whole;
}

// Pieces of a stream put together. `plan` has an array of start and end for a piece of the stream, and a Uint8Array for bytes of its own.
export function pieces(stream, plan) {
  const length = plan.reduce((sum, piece) => sum + (Array.isArray(piece) ? piece[1] - piece[0] : piece.byteLength), 0);
  const through = new FixedLengthStream(length);
  const writer = through.writable.getWriter();
  (async () => {
    const whole = await collect(stream, Infinity);
    for (const piece of plan) await writer.write(Array.isArray(piece) ? whole.subarray(...piece) : piece);
    await writer.close();
  })().catch((error) => writer.abort(error).catch(() => {}));
  return through.readable;
}

export function discard(stream) {
  if (!stream.locked) stream.cancel().catch(() => {});
}
