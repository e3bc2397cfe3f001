package privacy

import (
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMask(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{"nothing to see, 3.14 at 12:30:45, v1.2.3", "nothing to see, 3.14 at 12:30:45, v1.2.3"},
		{"write to anna@alp.example.", "write to <email-pii>."},
		{"<anna.muster+bees@mail.alp.example>", "<<email-pii>>"},
		{"jim.bob@ex.com.au and bob@ex.com", "<email-pii> and <email-pii>"},
		{"müller@bücher.example, информация@почта.example", "<email-pii>, <email-pii>"},
		{"请写信到anna@alp.example谢谢", "请写信到<email-pii>谢谢"},
		{"anna@例え.example。", "<email-pii>。"},
		{"o'brien@alp.example; x@[192.0.2.7]; y@[IPv6:2001:db8::1]; z@192.0.2.9", "<email-pii>; <email-pii>; <email-pii>; <email-pii>"},
		{`"anna muster"@alp.example`, "<email-pii>"},
		{"@handle, a@b, me@localhost, a @ b.example", "@handle, a@b, me@localhost, a @ b.example"},
		{"anna@alp.example.1 anna@alp.example-", "<email-pii>.1 <email-pii>-"},
		{"192.0.2.1, 10.0.0.1:8080 and 127.000.000.001.", "<ip-pii>, <ip-pii>:8080 and <ip-pii>."},
		{"地址192.0.2.1的", "地址<ip-pii>的"},
		{"1.2.3.4.5 256.1.1.1 1.2.3 1234.1.1.1", "1.2.3.4.5 256.1.1.1 1.2.3 1234.1.1.1"},
		{"v10.2.3.4", "v<ip-pii>"},
		{"2001:db8::1, [2001:DB8::2]:80, fe80::1%eth0 ::ffff:192.0.2.1", "<ip-pii>, [<ip-pii>]:80, <ip-pii> <ip-pii>"},
		{"IPv6:2001:db8::1. Next", "IPv6:<ip-pii>. Next"},
		{"2001:db8::1.Beef", "<ip-pii>.Beef"},
		{"std::vector Foo::Bad::x :: 12:30:45 a:b", "std::vector Foo::Bad::x :: 12:30:45 a:b"},
		{"AB:CD:EF:01:23:45:67:89:AB:CD", "AB:CD:EF:01:23:45:67:89:AB:CD"},
		{"GB82WEST12345698765432.", "<iban-pii>."},
		{"IBAN: GB82 WEST 1234 5698 7654 32, please", "IBAN: <iban-pii>, please"},
		{"GB82\u00a0WEST-1234\u202f5698 7654 32", "<iban-pii>"},
		{"gb82west12345698765432", "<iban-pii>"},
		{"GB82 WEST 1234 5698 7654 33", "GB82 WEST 1234 5698 7654 33"},
		{"xGB82WEST12345698765432 GB82WEST12345698765432x", "xGB82WEST12345698765432 GB82WEST12345698765432x"},
		{"192.0.2.1GB82WEST12345698765432", "<ip-pii><iban-pii>"},
		{"\xff@\xff.x \xffa@b.cc\xff", "\xff@\xff.x \xff<email-pii>\xff"},
	} {
		if got, _ := Mask(c.text); got != c.want {
			t.Errorf("Mask(%q) = %q, want %q", c.text, got, c.want)
		}
	}
}

func TestCounts(t *testing.T) {
	_, got := Mask("a@b.cc 192.0.2.1 ::1 GB82WEST12345698765432 c@d.ee")
	if want := (Counts{Email: 2, IP: 2, IBAN: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestRegistryIsWhole(t *testing.T) {
	if len(structures) != 103 || len(structures["MT"]) != 27 || len(structures["NO"]) != 11 {
		t.Errorf("%d countries", len(structures))
	}
	for country, classes := range structures {
		if len(classes)+4 > maxIBAN || strings.Trim(classes, "nac") != "" {
			t.Errorf("%s: structure %q", country, classes)
		}
	}
}

// iban builds a valid number for country by big-integer arithmetic, independently of mod97.
func iban(country string, seed int) string {
	bban := make([]byte, 0, maxIBAN)
	for i, class := range structures[country] {
		switch k := seed + 7*i; {
		case class == 'n' || class == 'c' && k%2 == 0:
			bban = append(bban, byte('0'+k%10))
		default:
			bban = append(bban, byte('A'+k%26))
		}
	}
	var digits strings.Builder
	for _, c := range string(bban) + country + "00" {
		if c >= 'A' {
			fmt.Fprint(&digits, int(c-'A')+10)
		} else {
			digits.WriteRune(c)
		}
	}
	n, _ := new(big.Int).SetString(digits.String(), 10)
	check := 98 - new(big.Int).Mod(n, big.NewInt(97)).Int64()
	return fmt.Sprintf("%s%02d%s", country, check, bban)
}

func grouped(number string) string {
	var out strings.Builder
	for i, c := range number {
		if i > 0 && i%4 == 0 {
			out.WriteByte(' ')
		}
		out.WriteRune(c)
	}
	return out.String()
}

func TestEveryCountryBothForms(t *testing.T) {
	for country := range structures {
		for seed := range 5 {
			number := iban(country, seed)
			for _, form := range []string{number, strings.ToLower(number), grouped(number)} {
				if got, n := Mask("to " + form + " at once"); got != "to <iban-pii> at once" || n.IBAN != 1 {
					t.Errorf("%q became %q", form, got)
				}
			}
		}
	}
}

// TestRecall states what is found in examples others made: all of it.
func TestRecall(t *testing.T) {
	dir := sharedData(t, "pii")
	var byCountry map[string][]string
	load(t, filepath.Join(dir, "iban-examples.json"), &byCountry)
	found, total := 0, 0
	for _, numbers := range byCountry {
		for _, number := range numbers {
			total++
			if got, _ := Mask("pay to " + number + ", thank you"); got == "pay to <iban-pii>, thank you" {
				found++
			} else {
				t.Logf("missed %q: %q", number, got)
			}
		}
	}
	if found != 459 || total != 459 {
		t.Errorf("IBANs: %d of %d, want 459 of 459", found, total)
	}

	var documents []struct {
		Text  string `json:"full_text"`
		Spans []struct {
			Kind  string `json:"entity_type"`
			Value string `json:"entity_value"`
		} `json:"spans"`
	}
	load(t, filepath.Join(dir, "presidio-generated_small.json"), &documents)
	planted, survived, masked := 0, 0, 0
	for _, d := range documents {
		got, counts := Mask(d.Text)
		masked += counts.Total()
		for _, s := range d.Spans {
			if s.Kind == "EMAIL_ADDRESS" || s.Kind == "IP_ADDRESS" {
				planted++
				if strings.Contains(got, s.Value) {
					survived++
				}
			}
		}
	}
	if planted != 4 || survived != 0 || masked != 4 {
		t.Errorf("presidio: %d planted, %d survived, %d masked; want 4, 0, 4", planted, survived, masked)
	}
}

// TestProseIsLeftAlone counts what is masked in 0.7 MB of novel: the publisher's two addresses, and no more.
func TestProseIsLeftAlone(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(sharedData(t, "text"), "en-pride-and-prejudice-1342.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if _, got := Mask(string(text)); got != (Counts{Email: 2}) {
		t.Errorf("masked %+v", got)
	}
}

func load(t *testing.T, path string, into any) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatal(err)
	}
}

// sharedData finds the folder of real test input beside the checkout, or skips.
func sharedData(t *testing.T, sub string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if filepath.Dir(dir) == dir {
			t.Skip("no go.mod above the test: cannot find ../shared")
		}
		dir = filepath.Dir(dir)
	}
	path := filepath.Join(dir, "..", "shared", "data", sub)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("real test input is not here: %v", err)
	}
	return path
}

func FuzzMask(f *testing.F) {
	f.Add("a@b.cc 192.0.2.1", " ::1 GB82WEST12345698765432")
	f.Add("x@[", "]")
	f.Add("1.2.3.4.", "fe80::1%")
	f.Fuzz(func(t *testing.T, before, after string) {
		values := []string{"anna.muster@alp.example", "192.0.2.41", "2001:db8::41", "CH93 0076 2011 6238 5295 7", "DE89370400440532013000"}
		for _, value := range values {
			text := before + " " + value + " " + after
			once, _ := Mask(text)
			if strings.Contains(once, value) && !strings.Contains(before, value) && !strings.Contains(after, value) {
				t.Fatalf("%q survives in %q", value, once)
			}
			if twice, n := Mask(once); twice != once || n.Total() != 0 {
				t.Fatalf("masking %q again gives %q", once, twice)
			}
		}
	})
}

func BenchmarkMask(b *testing.B) {
	text := strings.Repeat("The bees of Oberwald fly at 10.30 over the river; write to anna@alp.example. ", 1000)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		Mask(text)
	}
}
