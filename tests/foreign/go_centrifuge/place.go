// What checks in Go stand on: the place that the runner has built for them, and a publisher.
package main

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// patience is how long a check waits for what must come true: far longer than it takes.
const patience = 30 * time.Second

// server is one of the servers, as `switchboard-foreign` wrote it down.
type server struct {
	Terminals string
	API       string
	PID       int
}

var place struct {
	Servers []server
	Key     string
	Tokens  struct{ Secret string }
}

var answers = bufio.NewScanner(os.Stdin)

func init() {
	must(json.Unmarshal([]byte(os.Getenv("FOREIGN_PLACE")), &place))
}

// must ends a check with this error, if it is one.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// demand ends a check that has found something else than it must.
func demand(is bool, found ...any) {
	if !is {
		panic(found)
	}
}

// eventually waits until something is true.
func eventually(what string, is func() bool) {
	for end := time.Now().Add(patience); !is(); time.Sleep(20 * time.Millisecond) {
		demand(time.Now().Before(end), "this did not come true: ", what)
	}
}

// signal sends a signal to a server.
func signal(number int, signal os.Signal) {
	process, err := os.FindProcess(place.Servers[number].PID)
	must(err)
	must(process.Signal(signal))
}

// restart has the runner start a server again, after killing it if it lives.
func restart(number int) {
	fmt.Printf("restart %d\n", number)
	demand(answers.Scan(), "the runner does not answer")
	must(json.Unmarshal(answers.Bytes(), &place.Servers[number]))
}

// send sends a request to the API of the second server, and gives status and body.
func send(method, path, body string, headers map[string]string) (int, map[string]any) {
	request, err := http.NewRequest(method, place.Servers[1].API+path, bytes.NewBufferString(body))
	must(err)
	request.Header.Set("Authorization", "Bearer "+place.Key)
	request.Header.Set("Content-Type", "text/plain")
	for name, value := range headers {
		request.Header.Set(name, value)
	}
	client := http.Client{Timeout: patience}
	response, err := client.Do(request)
	must(err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	must(err)
	var answer map[string]any
	must(json.Unmarshal(content, &answer))
	return response.StatusCode, answer
}

func accepted(method, path, body string) map[string]any {
	status, answer := send(method, path, body, nil)
	demand(status == 200, answer)
	return answer
}

// push pushes, and demands that exactly one terminal was written to.
func push(user, payload string) {
	receipt := accepted("POST", "/v1/users/"+user+"/push", payload)
	demand(receipt["written"] == 1.0 && receipt["queued"] == 0.0 && receipt["failed"] == 0.0, receipt)
}

// pushLogged pushes durably, and repeats it under its id until it is known where in the log it is.
func pushLogged(user, payload string) {
	headers := map[string]string{"Idempotency-Key": uuid()}
	eventually("the server takes the push", func() bool {
		status, answer := send("POST", "/v1/users/"+user+"/push?durable=true&deadline=1s", payload, headers)
		return status == 200 && answer["logged"] != "unknown" && answer["logged"] != "refused"
	})
}

func uuid() string {
	var bytes [16]byte
	_, err := rand.Read(bytes[:])
	must(err)
	return fmt.Sprintf("%x-%x-%x-%x-%x", bytes[:4], bytes[4:6], bytes[6:8], bytes[8:10], bytes[10:])
}

// token is one of the identity provider that the servers trust, for so many seconds.
func token(user string, seconds int64, topics ...string) string {
	part := func(content any) string {
		text, err := json.Marshal(content)
		must(err)
		return base64.RawURLEncoding.EncodeToString(text)
	}
	claims := map[string]any{"sub": user, "exp": time.Now().Unix() + seconds}
	if len(topics) > 0 {
		claims["topics"] = topics
	}
	message := part(map[string]string{"alg": "HS256", "typ": "JWT"}) + "." + part(claims)
	mac := hmac.New(sha256.New, []byte(place.Tokens.Secret))
	mac.Write([]byte(message))
	return message + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
