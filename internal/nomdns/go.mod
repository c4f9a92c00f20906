module github.com/pion/mdns

go 1.26.0
