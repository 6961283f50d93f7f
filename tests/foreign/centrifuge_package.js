// The package `centrifuge` from npm in its versions and encodings, and what its clients need in Node.
"use strict";

const { assert, sleep } = require("./check");

const JSON_57 = { ...require("centrifuge"), isJson: true };
const PROTOBUF_57 = { ...require("centrifuge/build/protobuf"), isJson: false };
const JSON_58 = { ...require("centrifuge58"), isJson: true };
const PROTOBUF_58 = { ...require("centrifuge58/build/protobuf"), isJson: false };

/** Protobuf has bytes where JSON has JSON. */
const value = (data) => (data instanceof Uint8Array ? JSON.parse(Buffer.from(data).toString()) : data);
const bytes = (way, data) => (way.isJson ? data : Buffer.from(JSON.stringify(data)));

/** The answer of a question that is refused while it is in doubt who is there, as after the start of a server. */
const certain = async (ask) => {
  for (const end = Date.now() + 60_000; ; await sleep(100)) {
    try {
      return await ask();
    } catch (error) {
      if (error.code !== 100 || Date.now() > end) throw error;
    }
  }
};

/** As browsers have it, as far as the package uses it: Node has none. */
function eventSource(request) {
  return class {
    constructor(url) {
      this.aborted = new AbortController();
      this.read(url).catch(() => {}).then(() => this.onerror?.({}));
    }

    async read(url) {
      const answer = await request(url, { headers: { Accept: "text/event-stream" }, signal: this.aborted.signal });
      assert.equal(answer.headers.get("content-type"), "text/event-stream");
      this.onopen();
      let text = "";
      for await (const bytes of answer.body.pipeThrough(new TextDecoderStream())) {
        const events = (text + bytes).split("\n\n");
        text = events.pop();
        for (const event of events) {
          if (event.startsWith("data: ")) this.onmessage({ data: event.slice(6) });
        }
      }
    }

    close() {
      this.onerror = null;
      this.aborted.abort();
    }
  };
}

module.exports = { JSON_57, JSON_58, PROTOBUF_57, PROTOBUF_58, bytes, certain, eventSource, value };
