// The page of docs/chat in Chromium: people who say something, and what is shown to them.
"use strict";

const { chromium } = require("playwright-core");
const { eventually } = require("./check");

function launch() {
  return chromium.launch({
    executablePath: process.env.FOREIGN_CHROMIUM,
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
    // As a person's browser: it keeps pages that were left.
    ignoreDefaultArgs: ["--disable-back-forward-cache"],
  });
}

/** Somebody in front of the page. */
class Person {
  /** Opens the page, and waits until it is connected. */
  static async at(browser, site, user) {
    const person = new Person();
    person.page = await browser.newPage();
    await person.page.goto(`${site}/?user=${user}`);
    await eventually(`${user} is connected`, () => person.isConnected());
    return person;
  }

  state() {
    return this.page.textContent("#state");
  }

  async isConnected() {
    return (await this.state()).includes("connected by");
  }

  async say(text) {
    await this.page.fill("input", text);
    await this.page.click("button");
  }

  /** What is shown, each line as name and text. */
  said() {
    return this.page.$$eval("#said li", (lines) => lines.map((line) => [line.firstChild.textContent, line.lastChild.data]));
  }
}

module.exports = { Person, launch };
