// The module `centrifuge-go`, in JSON and in Protobuf, at two servers that take tokens.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/centrifugal/centrifuge-go"
)

// encodings are what a client can be made with.
var encodings = []struct {
	name string
	make func(string, centrifuge.Config) *centrifuge.Client
}{
	{"JSON", centrifuge.NewJsonClient},
	{"Protobuf", centrifuge.NewProtobufClient},
}

// told is a client of a user, and all that it has told of.
type told struct {
	*centrifuge.Client
	lock         sync.Mutex
	connecting   []centrifuge.ConnectingEvent
	connected    []centrifuge.ConnectedEvent
	disconnected []centrifuge.DisconnectedEvent
	subscribed   []centrifuge.ServerSubscribedEvent
	publications []centrifuge.ServerPublicationEvent
	tokens       int
}

// opening makes a client and has it connect. The order of its events is that in which they are told.
func opening(encoding int, token func() string) *told {
	told := &told{}
	address := strings.Replace(place.Servers[0].Terminals, "/connect", "/connection/websocket", 1)
	told.Client = encodings[encoding].make(address, centrifuge.Config{
		GetToken: func(centrifuge.ConnectionTokenEvent) (string, error) {
			told.lock.Lock()
			defer told.lock.Unlock()
			told.tokens++
			return token(), nil
		},
		MinReconnectDelay: 100 * time.Millisecond,
		MaxReconnectDelay: 200 * time.Millisecond,
	})
	told.OnConnecting(noting(told, &told.connecting))
	told.OnConnected(noting(told, &told.connected))
	told.OnDisconnected(noting(told, &told.disconnected))
	told.OnSubscribed(noting(told, &told.subscribed))
	told.OnPublication(noting(told, &told.publications))
	must(told.Connect())
	return told
}

func noting[T any](told *told, events *[]T) func(T) {
	return func(event T) {
		told.lock.Lock()
		defer told.lock.Unlock()
		*events = append(*events, event)
	}
}

// open makes a client that is connected.
func open(encoding int, token func() string) *told {
	told := opening(encoding, token)
	told.isConnected(1)
	return told
}

// of gives a copy of what was told of.
func of[T any](told *told, events *[]T) []T {
	told.lock.Lock()
	defer told.lock.Unlock()
	return slices.Clone(*events)
}

func (told *told) isConnected(times int) string {
	eventually("it is connected", func() bool { return len(of(told, &told.connected)) >= times })
	return of(told, &told.connected)[times-1].ClientID
}

func (told *told) has(values ...any) {
	eventually(fmt.Sprintf("the publications %v", values), func() bool {
		return len(of(told, &told.publications)) >= len(values)
	})
	var found []any
	for _, each := range of(told, &told.publications) {
		found = append(found, value(each.Data))
	}
	demand(fmt.Sprintf("%v", found) == fmt.Sprintf("%v", values), found)
}

func (told *told) ended() centrifuge.DisconnectedEvent {
	eventually("it is told its end", func() bool { return len(of(told, &told.disconnected)) > 0 })
	return of(told, &told.disconnected)[0]
}

// own is how it was subscribed to the channel of its user, each time: whether it came with a position, and whether
// nothing is missing.
func (told *told) own(user string) [][2]bool {
	var found [][2]bool
	for _, each := range of(told, &told.subscribed) {
		if each.Channel == "#"+user {
			found = append(found, [2]bool{each.WasRecovering, each.Recovered})
		}
	}
	return found
}

func value(data []byte) (value any) {
	must(json.Unmarshal(data, &value))
	return value
}

func refused(err error, code uint32) {
	var found *centrifuge.Error
	demand(errors.As(err, &found) && found.Code == code, "refused: ", err)
}

// checks are made in both encodings.
var checks = []struct {
	name string
	make func(user string, encoding int)
}{
	{"a client gets what is pushed to its user at the other server", func(user string, encoding int) {
		told := open(encoding, func() string { return token(user, 600) })
		defer told.Close()
		push(user, `{"text":"hello", "number":5}`)
		told.has(map[string]any{"text": "hello", "number": 5.0})
		demand(of(told, &told.publications)[0].Channel == "#"+user)
	}},
	{"what was pushed while its server was dead comes once and in order", func(user string, encoding int) {
		told := open(encoding, func() string { return token(user, 600) })
		defer told.Close()
		pushLogged(user, "1")
		told.has(1)
		signal(0, syscall.SIGKILL)
		pushLogged(user, "2")
		pushLogged(user, "3")
		restart(0)
		told.isConnected(2)
		pushLogged(user, "4")
		told.has(1, 2, 3, 4)
		own := told.own(user)
		demand(slices.Equal(own, [][2]bool{{false, false}, {true, true}}), own)
	}},
	{"a client whose position is lost is told so", func(user string, encoding int) {
		told := open(encoding, func() string { return token(user, 600) })
		defer told.Close()
		pushLogged(user, "1")
		told.has(1)
		signal(0, syscall.SIGKILL)
		accepted("DELETE", "/v1/users/"+user+"/log", "")
		pushLogged(user, "2")
		restart(0)
		told.isConnected(2)
		told.has(1, 2)
		own := told.own(user)
		demand(slices.Equal(own, [][2]bool{{false, false}, {true, false}}), own)
	}},
	{"a client renews its token and stays", func(user string, encoding int) {
		// Of the leeway of 30 s four are left.
		told := open(encoding, func() string { return token(user, -26) })
		defer told.Close()
		eventually("it is asked for tokens", func() bool {
			told.lock.Lock()
			defer told.lock.Unlock()
			return told.tokens >= 3
		})
		push(user, `"here"`)
		told.has("here")
		demand(len(of(told, &told.connecting)) == 1, told.connecting)
	}},
	{"an expired token is answered so that the client gets a new one", func(user string, encoding int) {
		tokens := []string{token(user, -60), token(user, 600)}
		told := open(encoding, func() string {
			next := tokens[0]
			tokens = tokens[1:]
			return next
		})
		defer told.Close()
		demand(told.tokens == 2, told.tokens)
	}},
	{"a token that does not count ends it for good", func(user string, encoding int) {
		told := opening(encoding, func() string { return token(user, 600) + "x" })
		defer told.Close()
		demand(told.ended().Code == 3500, told.disconnected)
	}},
	{"a client that is kicked stays away", func(user string, encoding int) {
		told := open(encoding, func() string { return token(user, 600) })
		defer told.Close()
		accepted("DELETE", "/v1/users/"+user+"/connections/"+told.isConnected(1), "")
		demand(told.ended().Code == 3503, told.disconnected)
	}},
	{"presence and history of the user's channel", presenceAndHistory},
	{"what was pushed to a topic while its server was dead comes once and in order", recoveredTopic},
	{"a client subscribes itself to a topic that its token allows", topics},
	{"a client that is idle is pinged, and answers", func(user string, encoding int) {
		told := open(encoding, func() string { return token(user, 600) })
		defer told.Close()
		time.Sleep(7 * time.Second) // Longer than pings and patience together.
		push(user, `"still"`)
		told.has("still")
		demand(len(of(told, &told.connecting)) == 1, told.connecting)
	}},
	{"a client whose server is drained comes back", func(user string, encoding int) {
		told := open(encoding, func() string { return token(user, 600) })
		defer told.Close()
		pushLogged(user, "1")
		told.has(1)
		signal(0, syscall.SIGTERM)
		eventually("it is told of the drain", func() bool { return len(of(told, &told.connecting)) > 1 })
		demand(of(told, &told.connecting)[1].Code == 3001, told.connecting)
		pushLogged(user, "2")
		restart(0)
		told.isConnected(2)
		told.has(1, 2)
	}},
}

// certain asks what is refused while it is in doubt who is there, as after the start of a server.
func certain(what string, ask func() error) {
	eventually(what, func() bool {
		err := ask()
		var refused *centrifuge.Error
		if errors.As(err, &refused) && refused.Code == 100 {
			return false
		}
		must(err)
		return true
	})
}

func presenceAndHistory(user string, encoding int) {
	told := open(encoding, func() string { return token(user, 600) })
	defer told.Close()
	for _, payload := range []string{"1", "2", "3"} {
		pushLogged(user, payload)
	}
	told.has(1, 2, 3)
	channel := "#" + user
	all, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var presence centrifuge.PresenceResult
	certain("the presence", func() (err error) {
		presence, err = told.Presence(all, channel)
		return err
	})
	demand(len(presence.Clients) == 1 && presence.Clients[told.isConnected(1)].User == user, presence)
	var stats centrifuge.PresenceStatsResult
	certain("the statistics", func() (err error) {
		stats, err = told.PresenceStats(all, channel)
		return err
	})
	demand(stats.NumClients == 1 && stats.NumUsers == 1, stats)
	history := func(options ...centrifuge.HistoryOption) string {
		page, err := told.History(all, channel, options...)
		must(err)
		values := []any{}
		for _, each := range page.Publications {
			values = append(values, value(each.Data))
		}
		return fmt.Sprint(values)
	}
	page, err := told.History(all, channel)
	must(err)
	publications := of(told, &told.publications)
	demand(page.Offset == publications[2].Offset, page)
	demand(history(centrifuge.WithHistoryLimit(-1)) == "[1 2 3]", "all of it")
	demand(history(centrifuge.WithHistoryLimit(2), centrifuge.WithHistoryReverse(true)) == "[3 2]", "reverse")
	since := centrifuge.StreamPosition{Offset: publications[0].Offset, Epoch: page.Epoch}
	demand(history(centrifuge.WithHistoryLimit(10), centrifuge.WithHistorySince(&since)) == "[2 3]", "since")
	since.Offset = page.Offset + 1
	_, err = told.History(all, channel, centrifuge.WithHistoryLimit(10), centrifuge.WithHistorySince(&since))
	refused(err, 112)
	_, err = told.RPC(all, "method", []byte("{}"))
	refused(err, 108)
	_, err = told.Publish(all, channel, []byte("{}"))
	refused(err, 103)
}

func recoveredTopic(user string, encoding int) {
	told := open(encoding, func() string { return token(user, 600) })
	defer told.Close()
	topic := "room:" + user
	var got []centrifuge.PublicationEvent
	var joined []centrifuge.SubscribedEvent
	room, err := told.NewSubscription(topic)
	must(err)
	room.OnPublication(noting(told, &got))
	room.OnSubscribed(noting(told, &joined))
	must(room.Subscribe())
	eventually("the subscription", func() bool { return len(of(told, &joined)) == 1 })
	_, err = room.Publish(context.Background(), []byte("1"))
	must(err)
	eventually("what it has published", func() bool { return len(of(told, &got)) == 1 })
	pushed := func(text string) {
		accepted("POST", "/v1/topics/"+topic+"/push?durable=true&deadline=500ms", text)
	}
	signal(0, syscall.SIGKILL)
	pushed("2")
	pushed("3")
	restart(0)
	told.isConnected(2)
	pushed("4")
	eventually("what was pushed meanwhile", func() bool { return len(of(told, &got)) == 4 })
	for number, event := range of(told, &got) {
		demand(value(event.Data) == float64(number+1), got)
	}
	again := of(told, &joined)
	demand(len(again) == 2 && again[1].WasRecovering && again[1].Recovered, again)
	page, err := room.History(context.Background(), centrifuge.WithHistoryLimit(2), centrifuge.WithHistoryReverse(true))
	must(err)
	demand(len(page.Publications) == 2 && value(page.Publications[0].Data) == 4.0, page)
}

func topics(user string, encoding int) {
	allowed := "room-" + user
	told := open(encoding, func() string { return token(user, 600, allowed+"*") })
	defer told.Close()
	var got []centrifuge.PublicationEvent
	var joined []centrifuge.SubscribedEvent
	var ended []centrifuge.UnsubscribedEvent
	room, err := told.NewSubscription(allowed)
	must(err)
	room.OnPublication(noting(told, &got))
	room.OnSubscribed(noting(told, &joined))
	must(room.Subscribe())
	eventually("the subscription", func() bool { return len(of(told, &joined)) == 1 })
	accepted("POST", "/v1/topics/"+allowed+"/push", `"to the topic"`)
	eventually("the publication", func() bool { return len(of(told, &got)) == 1 })
	demand(value(of(told, &got)[0].Data) == "to the topic", got)
	other, err := told.NewSubscription("secret")
	must(err)
	other.OnUnsubscribed(noting(told, &ended))
	must(other.Subscribe())
	eventually("the refusal", func() bool { return len(of(told, &ended)) == 1 })
	demand(of(told, &ended)[0].Code == 103, ended)
}

func main() {
	failed := false
	for encoding, each := range encodings {
		for number, check := range checks {
			name := each.name + ": " + check.name
			if makes(name, func() { check.make(fmt.Sprintf("%s-%d", each.name, number), encoding) }) {
				fmt.Println("ok", name)
			} else {
				failed = true
			}
		}
	}
	if failed {
		os.Exit(1)
	}
}

// makes says whether a check passes, and prints why not.
func makes(name string, check func()) (passed bool) {
	defer func() {
		if cause := recover(); cause != nil {
			fmt.Printf("FAILED %s\n%v\n%s\n", name, cause, debug.Stack())
		}
	}()
	check()
	return true
}
